"""Which sampler and which stopping rule find the best configuration? A study of studies over several study seeds.

An arm is a sampler and a stopping rule, such as tpe+asha, or flags of study/run.py with a name:

    .venv/bin/python benchmarks/search_rules.py --data-root DATA --backbone mobilenet_v2 --weights FILE --output FOLDER
    .. --dataset cub polyvore --arms random+asha tpe+asha "wide=--sampler tpe --scheduler none --num-trials 64"
    .. --table-only                      # the tables of what has ended so far, in seconds

Each study runs serially on one core, --jobs of them at a time. The command may be interrupted and typed again: studies
go on, and what has ended is not run again. A seed counts once the studies of all arms have ended.

Arms are compared at equal epochs and at equal seconds, where each study is cut, by default at what the cheapest of the
seed's studies took to search; and as run, with the epochs and the winner of a confirmation. A winner is judged on
questions on val that no study has asked, and on test after training on train + val, as is the best of the first trials
of its study (rule_outcomes.py and fresh_judge.py say how). Intervals are those of the t distribution over seeds.

Studies do not share trials. The first trials of a seed are the same in all arms, but a rule may stop them at another
epoch, and their seconds belong to each arm.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from functools import partial
from pathlib import Path

from measure import machine
from rule_outcomes import (
    QUESTION_SEED,
    TEST_SEEDS,
    VAL_SEEDS,
    Cut,
    FinishedStudy,
    JudgedOutcome,
    Outcome,
    judged_file,
    outcomes_of,
    read_judged,
    table,
)
from rule_studies import (
    Arm,
    Place,
    Processes,
    default_arms,
    flags_of_study,
    has_ended,
    read_arm,
    read_seed,
    run_study,
)
from study_cuts import Found, Unit

from pan_model.files import atomic_write

DATASETS = ("demo", "cub", "inshop", "polyvore")
REFERENCE = "random+asha"


def outcomes_of_seed(arguments: argparse.Namespace, studies: Sequence[FinishedStudy]) -> list[Outcome]:
    """Return the outcomes of a seed's studies at the cuts of the arguments."""
    at = {Unit.EPOCHS: arguments.at_epochs, Unit.SECONDS: arguments.at_seconds}
    return outcomes_of(studies, {unit: most for unit, most in at.items() if most is not None})


def find_unjudged(arguments: argparse.Namespace, place: Place, seed: int) -> dict[Path, Found]:
    """Return what the studies of a seed found and has not been judged yet, by the file of its values."""
    studies = read_seed(arguments, place, seed)
    outcomes = outcomes_of_seed(arguments, studies) if studies else []
    found = [found for outcome in outcomes for found in (outcome.winner, outcome.first) if found is not None]
    files = {judged_file(place.judged, studies[0].data, one): one for one in found}
    return {file: one for file, one in files.items() if not file.is_file()}


def judge_seed(arguments: argparse.Namespace, place: Place, seed: int) -> None:
    """Judge in this process what the studies of a seed found and has not been judged yet."""
    from fresh_judge import Judge, prepare

    judge = Judge(prepare(place.study(arguments.arms[0].name, seed), place.dataset))
    for file, found in find_unjudged(arguments, place, seed).items():
        judge.judge(found.config, found.epoch, file)


def read_outcomes(arguments: argparse.Namespace, place: Place) -> dict[int, list[JudgedOutcome]]:
    """Return the judged outcomes of all seeds whose studies have ended and whose findings are all judged."""
    by_seed: dict[int, list[JudgedOutcome]] = {}
    for seed in range(arguments.seeds):
        studies = read_seed(arguments, place, seed)
        judged: list[JudgedOutcome] = []
        outcomes = outcomes_of_seed(arguments, studies) if studies else []
        for outcome in outcomes:
            winner = read_judged(judged_file(place.judged, studies[0].data, outcome.winner))
            first = outcome.first and read_judged(judged_file(place.judged, studies[0].data, outcome.first))
            if winner is not None and (first is not None or outcome.first is None):
                sign = int(studies[0].objective.signed(1))
                judged.append(JudgedOutcome(outcome=outcome, winner=winner, first=first, sign=sign))
        if outcomes and len(judged) == len(outcomes):
            by_seed[seed] = judged
    return by_seed


def write_tables(arguments: argparse.Namespace) -> str:
    """Write <dataset>.md, and <dataset>.json with all values, for each dataset; return all tables."""
    return "\n".join(_write_table(arguments, dataset) for dataset in arguments.dataset)


def _write_table(arguments: argparse.Namespace, dataset: str) -> str:
    by_seed = read_outcomes(arguments, Place(output=arguments.output, dataset=dataset))
    outcomes = [outcome for of_seed in by_seed.values() for outcome in of_seed]
    lines: list[str] = []
    for where in Cut if outcomes else ():
        chosen = [outcome for outcome in outcomes if outcome.outcome.cut is where]
        seeds = ", ".join(map(str, by_seed))
        lines += [f"{dataset}, {where}, study seeds {seeds}:", "", table(chosen, arguments.reference), ""]
    text = "\n".join(lines) or f"{dataset}: no seed has the studies of all arms yet, all of them judged.\n"
    content = {
        "dataset": dataset,
        "machine": machine(),
        "arms": {arm.name: flags_of_study(arguments, dataset, arm, 0) for arm in arguments.arms},
        "cut": {"epochs": arguments.at_epochs, "seconds": arguments.at_seconds},
        "judged": {
            "val_seeds": VAL_SEEDS,
            "test_seeds": TEST_SEEDS,
            "question_seed": QUESTION_SEED,
        },
        "outcomes": [outcome.to_json() for outcome in outcomes],
    }
    for suffix, written in ((".md", text), (".json", json.dumps(content, indent=1) + "\n")):
        with atomic_write(arguments.output / f"{dataset}{suffix}") as path:
            path.write_text(written, encoding="utf-8")
    return text


class Runner:
    """Runs what is missing: studies, and the judging of each seed as soon as its last study has ended."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._processes = Processes()
        self._lock = threading.Lock()
        self._left: dict[tuple[str, int], int] = {}
        self.num_failures = 0

    def run(self) -> None:
        """Run everything, --jobs processes at a time; the tables are written whenever a seed has been judged."""
        arguments = self._arguments
        jobs: list[tuple[str, int, Arm | None]] = []
        for seed in range(arguments.seeds):
            for dataset in arguments.dataset:
                place = Place(output=arguments.output, dataset=dataset)
                arms = [
                    arm
                    for arm in arguments.arms
                    if not has_ended(place, arm, seed, flags_of_study(arguments, dataset, arm, seed))
                ]
                self._left[dataset, seed] = len(arms)
                jobs += [(dataset, seed, arm) for arm in arms or [None]]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            try:
                for done in as_completed([pool.submit(self._work, *job) for job in jobs]):
                    done.result()
            except BaseException:
                self._processes.stop()
                pool.shutdown(cancel_futures=True)
                raise

    def _work(self, dataset: str, seed: int, arm: Arm | None) -> None:
        """Run a study, if it is given, and judge its seed if all arms have ended."""
        place = Place(output=self._arguments.output, dataset=dataset)
        if arm is not None:
            work = partial(run_study, self._arguments, place, arm, seed, self._processes)
            if not self._succeeds(f"{dataset} {arm.name}, seed {seed}", work):
                return
            with self._lock:
                self._left[dataset, seed] -= 1
        if self._left[dataset, seed] == 0:
            self._succeeds(f"{dataset}, seed {seed}", partial(self._judge, place, seed))
            with self._lock:
                write_tables(self._arguments)

    def _judge(self, place: Place, seed: int) -> str:
        num_missing, start_s = len(find_unjudged(self._arguments, place, seed)), time.perf_counter()
        if num_missing:  # in another process, since torch and the features take memory
            command = [sys.executable, __file__, *sys.argv[1:], "--judge", place.dataset, str(seed)]
            self._processes.run(command, place.judged / "judge.log")
        return f"{num_missing} configurations judged in {time.perf_counter() - start_s:.0f} s"

    def _succeeds(self, name: str, work: Callable[[], str]) -> bool:
        """Run a piece of work, print its line, and return whether it succeeded."""
        try:
            text, succeeded = work(), True
        except RuntimeError as error:
            text, succeeded = f"failed: {error}", False
        with self._lock:
            self.num_failures += not succeeded
            print(f"search_rules: {datetime.now():%H:%M} {name}: {text}", file=sys.stderr, flush=True)
        return succeeded


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=_absolute, required=True, help="folder of the studies and of the results")
    parser.add_argument("--dataset", nargs="+", choices=DATASETS, default=["demo"], help="default: demo")
    parser.add_argument("--data-root", type=_absolute, required=True, help="as in study/run.py, as are the next flags")
    parser.add_argument("--backbone")
    parser.add_argument("--weights", type=lambda text: str(_absolute(text)) if Path(text).is_file() else text)
    parser.add_argument("--cache-dir", type=_absolute)
    parser.add_argument("--num-trials", type=int, help="of each study, unless its arm says otherwise")
    parser.add_argument("--max-epochs", type=int)
    parser.add_argument("--flags", default="", help="further flags of all studies, such as '--confirm 0'")
    names = [arm.name for arm in default_arms()]
    parser.add_argument(
        "--arms",
        nargs="+",
        type=read_arm,
        default=default_arms(),
        metavar="ARM",
        help=f"SAMPLER+RULE, or NAME=FLAGS of study/run.py; default: {' '.join(names)}",
    )
    parser.add_argument(
        "--reference", nargs="+", default=[REFERENCE], metavar="ARM", help=f"arms to compare with; default: {REFERENCE}"
    )
    parser.add_argument("--seeds", type=int, default=10, help="study seeds, from 0 (default: 10)")
    parser.add_argument("--at-epochs", type=int, help="where studies are cut; default: the fewest of a seed's searches")
    parser.add_argument("--at-seconds", type=float, help="the same for seconds of training and evaluation")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, of one core each (default: 2)")
    parser.add_argument("--table-only", action="store_true", help="print the tables of what has ended, run nothing")
    parser.add_argument("--judge", nargs=2, metavar=("DATASET", "SEED"), help=argparse.SUPPRESS)
    return parser


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse and check the arguments."""
    parser = arguments_parser()
    arguments = parser.parse_args(words)
    names = [arm.name for arm in arguments.arms]
    if len(set(names)) < len(names):
        parser.error(f"argument --arms: names must differ, got {' '.join(names)}.")
    for name in ("seeds", "jobs", "at_epochs", "at_seconds"):
        if (value := getattr(arguments, name)) is not None and value <= 0:
            parser.error(f"argument --{name.replace('_', '-')}: must be above 0, got {value}.")
    if unknown := [name for name in arguments.reference if name not in names]:
        if arguments.reference != [REFERENCE]:
            parser.error(f"argument --reference: must be among the arms {' '.join(names)}, got {unknown[0]}.")
        arguments.reference = names[:1]
    return arguments


def main() -> int:
    """Run what is missing and print the tables."""
    arguments = parse()
    if arguments.judge:
        dataset, seed = arguments.judge
        judge_seed(arguments, Place(output=arguments.output, dataset=dataset), int(seed))
        return 0
    runner = Runner(arguments)
    if not arguments.table_only:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            runner.run()
        except KeyboardInterrupt:
            print("search_rules: interrupted; the same command goes on", file=sys.stderr)
            return 130
    print(write_tables(arguments))
    return int(runner.num_failures > 0)


if __name__ == "__main__":
    sys.exit(main())
