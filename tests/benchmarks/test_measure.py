"""Test what benchmarks share: medians measured in turn, peak memory, and the JSON that they print."""

import doctest
import importlib.util
import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "measure.py"
SPEC = importlib.util.spec_from_file_location("measure", FILE)
assert SPEC
assert SPEC.loader
measure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(measure)


def test_both_callables_run_in_turn_after_a_warm_up():
    calls = []
    ours, peer = measure.alternate(lambda: calls.append("ours"), lambda: calls.append("peer"), repeats=3)
    assert calls == ["ours", "peer", *("ours", "peer"), *("peer", "ours"), *("ours", "peer")]
    assert min(ours, peer) >= 0


def test_the_example_of_a_table_is_right():
    assert doctest.testmod(measure) == (0, 1)


def test_ratios_are_such_that_more_is_better():
    assert measure.Row.less("step, s", 2.0, 8.0, target=5.0) == ("step, s", 2.0, 8.0, 4.0, 5.0)
    assert measure.Row.more("images a second", 2.0, 8.0) == ("images a second", 2.0, 8.0, 0.25, None)
    assert measure.Row.less("equal", 1.0, 4.0, 4.0).reached
    assert not measure.Row.less("below", 1.0, 3.9, 4.0).reached


def test_json_is_all_that_a_benchmark_prints(capfd):
    def noisy(arguments):
        print("a line of a library")
        os.system("echo a line of a subprocess")
        os.write(1, b"a line of C code\n")
        ours, peer = measure.alternate(lambda: sum(range(100)), lambda: sum(range(1000)))
        return [measure.Row.less(f"sum, {arguments.size} numbers", ours, peer, target=2)]

    parser = measure.parser("Sums.")
    parser.add_argument("--size", type=int, default=3)
    threads = torch.get_num_threads()
    measure.run_benchmark(parser, noisy, ["--json", "--size", "4", "--threads", str(threads)])
    printed = capfd.readouterr()
    (row,) = json.loads(printed.out)
    assert list(row) == ["what", "ours", "peer", "ratio", "target"]
    assert (row["what"], row["ratio"], row["target"]) == ("sum, 4 numbers", row["peer"] / row["ours"], 2)
    assert printed.err.count("a line of") == 3
    measure.run_benchmark(parser, noisy, ["--threads", str(threads)])
    table = capfd.readouterr().out
    assert "sum, 3 numbers" in table
    assert f"torch {version('torch')}" in table


def test_a_missing_target_is_null_and_infinity_is_refused(capfd):
    measure.print_rows([measure.Row.less("sum", 1.0, 2.0)], json=True)
    assert json.loads(capfd.readouterr().out) == [{"what": "sum", "ours": 1, "peer": 2, "ratio": 2, "target": None}]
    with pytest.raises(ValueError, match="JSON"):
        measure.print_rows([measure.Row("sum", 0.0, 1.0, float("inf"))], json=True)


@pytest.mark.slow  # the profiler takes seconds to start
@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the CPU's memory")
def test_peak_memory_counts_tensors_that_live_at_the_same_time():
    size = 1 << 20

    def one_after_another():
        for _ in range(3):
            torch.empty(size, dtype=torch.uint8)

    def together():
        return [torch.empty(size, dtype=torch.uint8) for _ in range(3)]

    assert size <= measure.peak_memory(one_after_another) < 1.1 * size
    assert 3 * size <= measure.peak_memory(together) < 3.1 * size


def test_a_gpu_that_is_missing_is_named(capfd):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SystemExit, match="2"):
        measure.run_benchmark(measure.parser("Sums."), lambda _: [], ["--device", "cuda"])
    assert "argument --device: torch finds no GPU; choose cpu." in capfd.readouterr().err
