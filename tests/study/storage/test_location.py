"""Folders and URLs: what is one, what is neither, and what travels to other machines."""

import pickle
from pathlib import Path

import pytest

from pan_model.errors import UserError
from study.storage.location import Location, absolute, in_store, locate


@pytest.mark.parametrize("text", ["results", "/a/b", "../x", "s3", "a:b", "s3:bucket", "~/x"])
def test_what_is_no_url_is_a_folder(text: str):
    location = locate(text)
    assert type(location) is type(Path())
    assert location == Path(text)
    assert not in_store(location)
    assert absolute(location) == Path(text).absolute()


@pytest.mark.parametrize("text", ["s3://bucket", "s3://bucket/", "s3://bucket/a/b", "s3://bucket/a/b/"])
def test_a_url_keeps_its_form_when_names_are_joined(text: str):
    location = locate(text)
    assert in_store(location)
    assert absolute(location) is location
    assert str(location / "demo" / "study.json") == f"{text.rstrip('/')}/demo/study.json"
    assert (location / "demo").name == "demo"
    assert (location / "demo").parent / "demo" == location / "demo"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("s3:/typo", r"'s3:/typo' names no bucket; the form is s3://bucket/prefix"),
        ("s3://", r"'s3://' names no bucket"),
        ("s3:///prefix", r"'s3:///prefix' names no bucket"),
        ("gs://bucket/x", r"'gs://bucket/x' needs the package gcsfs"),
        ("az://bucket/x", r"'az://bucket/x' needs the package adlfs"),
        ("foo://bucket", r"'foo://bucket' is not in a known store; .* s3://, gs://, az://"),
        ("http://host/x", r"'http://host/x' is not in a known store"),
        ("S3://bucket", r"'S3://bucket' is not in a known store"),
        ("s3://bucket/a*b", r"must be without \*"),
        ("s3://bucket/a?versionId=3", r"must be without \*, \?"),
    ],
)
def test_what_is_neither_is_refused_in_a_line(text: str, line: str):
    with pytest.raises(UserError, match=line):
        locate(text)


def test_no_secret_travels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-indeed")
    location: Location = locate("s3://bucket/prefix") / "demo"
    packed = pickle.dumps(location)
    assert b"very-secret-indeed" not in packed
    arrived = pickle.loads(packed)
    assert (arrived, str(arrived)) == (location, "s3://bucket/prefix/demo")
