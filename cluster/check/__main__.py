"""Run the check: `python -m cluster.check FILE [FILE ..]`."""

import sys

from cluster.check.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
