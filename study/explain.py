"""Explain why a trained model finds two images similar: `study/explain.py FINAL IMAGE1 IMAGE2`."""

import sys

from study.app.explain_pair import explain_command

if __name__ == "__main__":
    sys.exit(explain_command(sys.argv[1:]))
