"""Run the benchmarks one after another and write their rows to RESULTS.md.

    make bench                                        # all, with their defaults
    make bench ARGS="pair_labels all_pairs"           # some; prints, and writes RESULTS.md only with --output
    make bench ARGS="--data-root DATA --backbone mobilenet_v2 --weights FILE --other ../before"    # with birds

The checkout of --other is compared as in two_checkouts.py. The exit code is 1 if a benchmark failed. A target that was
not reached is marked and does not change the exit code: a measured ratio depends on the machine.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from measure import Row, machine, table
from prepared import add_data_flags

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BENCHMARKS = (
    "training_step",
    "all_pairs",
    "evaluation",
    "pair_labels",
    "study_overhead",
    "as_shipped",
    "final_training",
    "report_page",
)
TWO_CHECKOUTS = "two_checkouts"
WITH_DATA = {"as_shipped", TWO_CHECKOUTS}
"""Benchmarks that take --data-root, --backbone and --weights."""

FULL: dict[str, tuple[list[str], ...]] = {
    "training_step": (["--full"], ["--full", "--threads", "2"]),
    "all_pairs": ([], ["--threads", "2"]),
}
"""Runs of a benchmark with --full, instead of one with its defaults."""


@dataclass(frozen=True)
class Outcome:
    """What a benchmark printed.

    Attributes:
        name: The name of its script.
        shown: Its command, without paths of this machine.
        seconds: How long it ran.
        rows: Its rows.
        error: Why there are none.
    """

    name: str
    shown: str
    seconds: float
    rows: list[Row] = field(default_factory=list[Row])
    error: str = ""

    def lines(self) -> list[str]:
        """Return the section of RESULTS.md."""
        result = [f"failed: {self.error}"] if self.error else table(self.rows).splitlines()
        return [f"## {self.name}", "", f"`{self.shown}`, {self.seconds:.0f} s", "", *result, ""]


def run(name: str, flags: list[str], shown: str) -> Outcome:
    """Run a benchmark; its progress goes to stderr."""
    script = HERE / f"{name}.py"
    if not script.is_file():
        return Outcome(name, shown, 0.0, error=f"there is no {script.name}")
    start_s = time.perf_counter()
    command = [sys.executable, str(script), "--json", *flags]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
    seconds = time.perf_counter() - start_s
    if done.returncode:
        return Outcome(name, shown, seconds, error=f"exit code {done.returncode}")
    try:
        return Outcome(name, shown, seconds, [Row(**row) for row in json.loads(done.stdout)])
    except (ValueError, TypeError) as error:
        return Outcome(name, shown, seconds, error=f"it did not print rows as JSON ({error})")


def flags_of(name: str, arguments: argparse.Namespace) -> tuple[list[str], str]:
    """Return the flags of a benchmark, and its command with placeholders for paths."""
    flags, shown = (
        ([str(arguments.other.absolute()), "--final"], "OTHER --final") if name == TWO_CHECKOUTS else ([], "")
    )
    if name in WITH_DATA and arguments.data_root is not None:
        flags += ["--data-root", str(arguments.data_root.absolute())]
        shown += " --data-root DATA"
        for word in ("backbone", "weights"):
            if value := getattr(arguments, word):
                flags += [f"--{word}", value]
                shown += f" --{word} {Path(value).name}"
    return flags, " ".join(f"python benchmarks/{name}.py {shown}".split())


def document(outcomes: list[Outcome]) -> str:
    """Return the content of RESULTS.md."""
    with_target = [row for outcome in outcomes for row in outcome.rows if row.target is not None]
    below = [f"- {row.what}: {row.ratio:.3g} of {row.target:g}" for row in with_target if not row.reached]
    reached = f"{len(with_target) - len(below)} of {len(with_target)} targets were reached"
    failed = [outcome.name for outcome in outcomes if outcome.error]
    lines = [
        "# Results of the benchmarks",
        "",
        "`make bench` writes this file. In each row more is better for the ratio; without a unit, ours and peer are",
        "seconds. A ratio below its target is marked.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}. {machine()}.",
        "",
        f"{reached}; not reached:" if below else f"{reached}.",
        *(["", *below] if below else []),
        *(["", f"Failed: {', '.join(failed)}."] if failed else []),
        "",
        *(line for outcome in outcomes for line in outcome.lines()),
    ]
    return "\n".join(lines)


def _commit() -> str:
    command = ("git", "-C", str(HERE), "rev-parse", "--short", "HEAD")
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip() or "unknown"


def main() -> int:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--full", action="store_true", help="all sizes of the training step, with one and two threads")
    parser.add_argument("--output", type=Path, help="file of the results; default with all benchmarks: RESULTS.md")
    parser.add_argument("--other", type=Path, help="another checkout to compare with, with its .venv")
    add_data_flags(parser)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"argument NAME: unknown benchmark '{unknown[0]}'; choose from {', '.join(BENCHMARKS)}.")
    import torch  # noqa: F401  # `machine` then names the GPU

    names = [*(arguments.names or BENCHMARKS), *([TWO_CHECKOUTS] if arguments.other else [])]
    output: Path | None = arguments.output or (None if arguments.names else RESULTS)
    outcomes: list[Outcome] = []
    for name in names:
        print(f"benchmark {name}", file=sys.stderr, flush=True)
        for more in FULL.get(name, ([],)) if arguments.full else ([],):
            flags, shown = flags_of(name, arguments)
            outcomes.append(run(name, [*flags, *more], " ".join([shown, *more])))
            print("\n".join(outcomes[-1].lines()), flush=True)
            if output is not None:  # after each, so that an interrupted run keeps what it has measured
                output.write_text(document(outcomes), encoding="utf-8")
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
