"""Search, collate, export and report: `study/run.py --dataset NAME ..`, see --help."""

import sys

from study.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command(sys.argv[1:]))
