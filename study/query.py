"""Find the images of an index that are most similar to an image: `study/query.py INDEX IMAGE --top 10`."""

import sys

from study.app.index_commands import query_command

if __name__ == "__main__":
    sys.exit(query_command(sys.argv[1:]))
