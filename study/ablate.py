"""Train a winner with one parameter changed at a time: `study/ablate.py results/NAME/DATASET/best_config.json`."""

import sys

from study.app.ablation.ablate import ablate_command

if __name__ == "__main__":
    sys.exit(ablate_command(sys.argv[1:]))
