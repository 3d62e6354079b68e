"""Embed a folder of images by a final model: `study/index.py results/NAME/DATASET/final IMAGES --output INDEX`."""

import sys

from study.app.index_commands import index_command

if __name__ == "__main__":
    sys.exit(index_command(sys.argv[1:]))
