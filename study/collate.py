"""Rebuild the tables of a finished, interrupted or running study: `study/collate.py results/NAME`."""

import sys

from study.app.commands import collate_command

if __name__ == "__main__":
    sys.exit(collate_command(sys.argv[1:]))
