"""Measure two callables in turn, and print the results of a benchmark as a table or as JSON.

Benchmarks are run as `python benchmarks/<name>.py`, so they import this module as `measure`:

    def measure(arguments: argparse.Namespace) -> list[Row]:
        ours, peer = alternate(fused, straight)
        return [Row.less("training step, M = 50", ours, peer, target=0.8)]

    if __name__ == "__main__":
        run_benchmark(parser(__doc__), measure)
"""

import argparse
import contextlib
import json as json_format
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = ("torch", "numpy", "ray", "optuna")


class Row(NamedTuple):
    """One result: a quantity of this project beside that of its peer.

    Attributes:
        what: What was measured, with sizes and the unit if it is not seconds.
        ours: The quantity of this project.
        peer: The quantity of the peer: another form of the same work, or a bound.
        ratio: How well this project does compared with its peer; more is better.
        target: The ratio to reach; None if there is none.
    """

    what: str
    ours: float
    peer: float
    ratio: float
    target: float | None = None

    @classmethod
    def less(cls, what: str, ours: float, peer: float, target: float | None = None) -> "Row":
        """Return the row of a quantity of which less is better, such as seconds or bytes: the ratio is peer / ours."""
        return cls(what, ours, peer, peer / ours, target)

    @classmethod
    def more(cls, what: str, ours: float, peer: float, target: float | None = None) -> "Row":
        """Return the row of a quantity of which more is better, such as images a second: the ratio is ours / peer."""
        return cls(what, ours, peer, ours / peer, target)

    @property
    def reached(self) -> bool:
        """Whether the ratio reaches its target, or there is none."""
        return self.target is None or self.ratio >= self.target


def alternate(ours: Callable[[], object], peer: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Run two callables in turn and return the median wall-clock seconds of each.

    Both run once beforehand. The one that runs first changes from round to round, so that a drift of the machine's
    speed affects both. Work queued on a GPU is included.
    """
    seconds: dict[int, list[float]] = {0: [], 1: []}
    both = (ours, peer)
    for run in both:
        timed(run)
    for number in range(repeats):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            seconds[place].append(timed(both[place]))
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def timed(run: Callable[[], object]) -> float:
    """Run a callable and return its wall-clock seconds, including work that it queued on a GPU."""
    _wait_for_gpu()
    start = time.perf_counter()
    run()
    _wait_for_gpu()
    return time.perf_counter() - start


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory(run: Callable[[], object]) -> int:
    """Run a callable and return the most bytes of tensors that lived during it, above those that lived before.

    On a GPU, once it is in use, its memory is measured, otherwise the CPU's. Arrays of numpy are not counted.
    """
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results: Any = profiler.profiler
    changes = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        live += change.nbytes()
        peak = max(peak, live)
    return peak


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the flags of every benchmark; the benchmark adds its own."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true", help="print nothing but a JSON list of rows")
    made.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU")
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where tensors are, if it matters")
    return made


def run_benchmark(
    arguments_parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], Sequence[Row]],
    arguments: Sequence[str] | None = None,
) -> None:
    """Parse the arguments, measure, and print the rows.

    With --json, all else that is printed meanwhile, by libraries and subprocesses too, goes to stderr.

    Args:
        arguments_parser: What `parser` returned.
        measure: Maps the parsed arguments to rows.
        arguments: The arguments; by default those of the command.
    """
    parsed = arguments_parser.parse_args(arguments)
    import torch

    if parsed.device == "cuda" and not torch.cuda.is_available():
        arguments_parser.error("argument --device: torch finds no GPU; choose cpu.")
    torch.set_num_threads(parsed.threads)
    with stdout_to_stderr() if parsed.json else contextlib.nullcontext():
        rows = measure(parsed)
    print_rows(rows, json=parsed.json)


def print_rows(rows: Sequence[Row], *, json: bool = False) -> None:
    """Print a table with the machine and the versions, or with json nothing but a list of objects."""
    if json:
        print(json_format.dumps([row._asdict() for row in rows], indent=1, allow_nan=False), flush=True)
        return
    print(machine())
    print(table(rows), flush=True)


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table. A ratio below its target is marked.

    >>> print(table([Row.less("step", 2.0, 3.0, target=2.0)]))
    | what | ours | peer | ratio | target |
    | --- | ---: | ---: | ---: | ---: |
    | step | 2 | 3 | **1.5** below | 2 |
    """
    lines = ["| what | ours | peer | ratio | target |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        ratio = f"{row.ratio:.3g}" if row.reached else f"**{row.ratio:.3g}** below"
        target = "" if row.target is None else f"{row.target:g}"
        lines.append(f"| {row.what} | {row.ours:.4g} | {row.peer:.4g} | {ratio} | {target} |")
    return "\n".join(lines)


def machine() -> str:
    """Return the machine, the number of threads and the versions in one line."""
    parts = [f"{_cpu_model()}, {len(_usable_cores())} cores"]
    torch = sys.modules.get("torch")
    if torch is not None:
        parts.append(f"threads: {torch.get_num_threads()}")
        if torch.cuda.is_available():
            parts.append(torch.cuda.get_device_name())
    parts.append(f"Python {platform.python_version()}")
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            parts.append(f"{package} {version(package)}")
    return ", ".join(parts)


def _usable_cores() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _cpu_model() -> str:
    """Return the model of the CPU, or its architecture if the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def stdout_to_stderr() -> Generator[None]:
    """Send everything that this process and its children print to stderr."""
    sys.stdout.flush()
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as restored:
        kept = os.dup(1)
        restored.callback(os.close, kept)
        restored.callback(os.dup2, kept, 1)
        os.dup2(2, 1)
        yield
