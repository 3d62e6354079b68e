"""Compare studies: `study/compare.py results/A results/B [--output DIR]`."""

import sys

from study.app.compare_command import compare_command

if __name__ == "__main__":
    sys.exit(compare_command(sys.argv[1:]))
