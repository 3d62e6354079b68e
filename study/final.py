"""Train a best configuration again and test it once: `study/final.py results/NAME/DATASET/best_config.json`."""

import sys

from study.app.commands import final_command

if __name__ == "__main__":
    sys.exit(final_command(sys.argv[1:]))
