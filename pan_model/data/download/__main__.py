"""Run `python -m pan_model.data.download`."""

import signal
import sys

from pan_model.data.download.command import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a partly unpacked folder is removed
    sys.exit(main(sys.argv[1:]))
