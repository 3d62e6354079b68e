"""A store that fails now and then: objects are whole, answers are fresh, errors are OSErrors of one line."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from pan_model.errors import UserError
from study.storage.files import (
    append_line,
    exists,
    read_json,
    storage_of,
    write_json,
    write_text,
)
from study.storage.location import REQUEST_ATTEMPTS, locate
from study.storage.object_store import ObjectStorage, StoreError

STORE = ObjectStorage()


def objects(location: UPath) -> dict[str, bytes | None]:
    return {str(path): content for path, content in STORE.prefetch(STORE.list_below(location)).items()}


def test_objects_are_written_read_and_listed_through_faults(store: Any, bucket: UPath):
    lines = [f"line {number}\n" for number in range(8)]
    with store.failing(0.25):
        for number in range(8):
            write_json(bucket / "many" / f"{number}.json", [number] * 100)
            append_line(bucket / "lines", lines[number])
        read = objects(bucket)
    assert len(read) == 9
    assert read[f"{bucket}/lines"] == "".join(lines).encode()
    assert read_json(bucket / "many" / "7.json", "") == [7] * 100


def test_what_another_process_writes_is_seen_at_once(store: Any, bucket: UPath):
    assert STORE.list_below(bucket) == []
    assert not exists(bucket / "a" / "file")
    for content in ("one", "two"):
        words = "from study.storage.location import locate; from study.storage.files import write_text; "
        words += f"write_text(locate('{bucket}') / 'a' / 'file', '{content}')"
        subprocess.run([sys.executable, "-c", words], check=True)
        assert objects(bucket) == {f"{bucket}/a/file": content.encode()}
        assert exists(bucket / "a")
        assert STORE.list_folder(bucket) == [bucket / "a"]


def test_names_that_begin_alike_are_told_apart(store: Any, bucket: UPath):
    write_text(bucket / "demo-2" / "file", "x")
    assert STORE.list_below(bucket / "demo") == []
    assert not exists(bucket / "demo")


def test_one_name_may_be_read_twice_and_none_at_all(store: Any, bucket: UPath):
    write_text(bucket / "file", "x")
    paths = [bucket / "file", bucket / "none", bucket / "file"]
    assert STORE.prefetch(paths) == {bucket / "file": b"x", bucket / "none": None}
    assert STORE.prefetch([]) == {}


@pytest.mark.parametrize("size", [0, 1, 101 * 2**20])
def test_a_file_of_any_size_is_one_object(store: Any, bucket: UPath, tmp_path: Path, size: int):
    write_text(bucket / "big", "x" * size)
    assert STORE.copy_to_disk(bucket / "big", tmp_path / "cache").stat().st_size == size


def test_a_store_that_is_down_is_a_line_after_a_bounded_time(store: Any, bucket: UPath):
    asked, started_s = len(store.requests), time.monotonic()
    line = rf"{bucket}/file: cannot be written \(.+\)$"
    with store.failing(down=True), pytest.raises(StoreError, match=line) as caught:
        write_text(bucket / "file", "x")
    assert isinstance(caught.value, OSError)
    # aiohttp itself repeats a request once if an open connection is closed
    assert REQUEST_ATTEMPTS <= len(store.requests) - asked <= 2 * REQUEST_ATTEMPTS
    assert time.monotonic() - started_s < 31 + 10


def test_a_bucket_that_is_not_there_is_named(store: Any):
    with pytest.raises(
        UserError, match=r"the study cannot be written to s3://nobody/x: .*; does the bucket nobody exist\?"
    ):
        STORE.check_writable(locate("s3://nobody/x"), "the study", "--output", probe=".x")


def test_want_of_credentials_is_named(store: Any):
    words = "from study.storage.location import locate; from study.storage.files import write_text; "
    words += "write_text(locate('s3://studies/x'), 'x')"
    environment = {"AWS_ENDPOINT_URL": store.url, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", words], check=False, capture_output=True, text=True, env=environment)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "study.storage.object_store.StoreError: s3://studies/x: cannot be written (Unable to locate credentials"
    )


def test_trying_a_store_leaves_nothing(store: Any, bucket: UPath):
    storage_of(bucket).check_writable(bucket, "the study", "--output", probe=".x")
    assert STORE.list_below(bucket) == []
