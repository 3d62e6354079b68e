"""Faults of the machine are found in the errors of every library, and name the file that was written."""

import errno
import io
import os
import pickle
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pan_model.command_line import run_with_exit_code
from pan_model.errors import MachineFault, UserError, fault_of_text, find_machine_fault
from pan_model.files import atomic_cache_write, atomic_write

FULL_DISK = "No space left on device"
TENSORS = {"a": torch.zeros(200_000)}


@pytest.fixture
def size_limit() -> Iterator[None]:
    """A limit of 100 KB on the size of files, as a quota sets."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"0" * 200_000),
        lambda path: torch.save(TENSORS, path),
        lambda path: save_file(TENSORS, path),
        lambda path: np.save(path, np.zeros(200_000)),
        lambda path: path.write_bytes(pickle.dumps(np.zeros(200_000))),
    ],
    ids=["bytes", "torch", "safetensors", "numpy", "pickle"],
)
@pytest.mark.usefixtures("size_limit")
def test_every_library_that_writes_a_file(tmp_path: Path, write: Callable[[Path], object]):
    path = tmp_path / "file"
    with (
        pytest.raises(MachineFault, match=r"/file: File too large; raise the limit") as caught,
        atomic_write(path) as new,
    ):
        write(new)
    assert caught.value.errno == errno.EFBIG
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_an_error_that_hides_it(number: int):
    def fail() -> None:
        try:
            raise OSError(number, os.strerror(number), "results/a")
        except OSError as error:
            raise RuntimeError("the writer failed") from error

    with pytest.raises(RuntimeError, match="the writer failed") as caught:
        fail()
    fault = find_machine_fault(caught.value)
    assert fault is not None
    assert (fault.errno, fault.place) == (number, "results/a")
    assert str(fault).startswith(f"results/a: {os.strerror(number)}; ")


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError("unable to write to file </torch_1>: No space left on device (28)"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("Local disk is full\nThe object cannot be created"),
        io.UnsupportedOperation("[Errno 28] No space left on device"),
    ],
)
def test_an_error_that_is_only_text(error: Exception):
    fault = find_machine_fault(error, "results/a")
    assert fault is not None
    assert str(fault) == f"results/a: {FULL_DISK}; make room there"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("loss is nan"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
        FileExistsError(errno.EEXIST, "File exists", "a"),
        OSError("image file is truncated"),
    ],
)
def test_other_errors_are_none(error: Exception):
    assert find_machine_fault(error, "results/a") is None


def test_it_survives_a_pickle_and_a_traceback():
    fault = MachineFault(errno.ENOSPC, "results/a", "10.0.0.2")
    assert str(pickle.loads(pickle.dumps(fault))) == f"node 10.0.0.2: results/a: {FULL_DISK}; make room there"
    read = fault_of_text(f"pan_model.errors.MachineFault: {fault}")
    assert str(read) == str(fault)


def test_a_command_ends_with_one_line(capsys: pytest.CaptureFixture[str]):
    def fail() -> None:
        raise OSError(errno.ENOSPC, FULL_DISK, "results/a")

    assert run_with_exit_code(fail, "run it again") == 2
    assert capsys.readouterr().err == f"error: results/a: {FULL_DISK}; make room there; run it again\n"


@pytest.mark.usefixtures("size_limit")
def test_a_cache_that_cannot_take_a_file_is_named(tmp_path: Path):
    with (
        pytest.raises(UserError, match=r"features cannot be cached in .* \(.*File too large.*\); give another --cache"),
        atomic_cache_write(tmp_path / "f.safetensors", "features") as path,
    ):
        save_file(TENSORS, path)
