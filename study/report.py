"""Write the report of a study as one HTML page: `study/report.py results/NAME`."""

import sys

from study.app.report_page import report_command

if __name__ == "__main__":
    sys.exit(report_command(sys.argv[1:]))
