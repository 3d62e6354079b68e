"""Run `python -m pan_model.data.download`."""

import sys

from pan_model.data.download.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
