"""Show the state of a study, running, interrupted or done: `study/status.py results/NAME`."""

import sys

from study.app.commands import status_command

if __name__ == "__main__":
    sys.exit(status_command(sys.argv[1:]))
