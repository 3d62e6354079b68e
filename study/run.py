"""Search, collate, export and report: `study/run.py --dataset NAME ..`, see --help.

`ray submit` copies only this file to the home folder of a cluster's head node; `ray up` has copied the package there.
"""

import os
import sys
from pathlib import Path

VERSION = "0.1.0"
"""Version of the package. It stands here so that copies of this file from different releases differ."""


def leave_to_its_python(error: ImportError) -> int:
    """Run this script with the Python of this checkout or of ~/pan-study, or print how to install the package."""
    folders = [Path(__file__).resolve().parent.parent, Path("~/pan-study").expanduser()]
    pythons = [folder / ".venv" / "bin" / "python" for folder in folders]
    if Path(sys.prefix).resolve() not in [python.parent.parent.resolve() for python in pythons]:
        for python in (python for python in pythons if python.exists()):
            print(f"{sys.executable} has no PAN Study: {python} runs it", file=sys.stderr, flush=True)
            os.execv(python, [str(python), *sys.argv])
    print(
        f"error: {sys.executable} has no PAN Study ({error}); on a cluster, `ray up cluster/FILE.yaml`, from your own "
        "checkout, brings and installs it; on this machine, `make setup` in the checkout, then .venv/bin/python.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    try:
        from study.app.commands import run_command
    except ImportError as missing:
        sys.exit(leave_to_its_python(missing))
    sys.exit(run_command(sys.argv[1:], script=Path(__file__)))
