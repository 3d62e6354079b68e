import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pan_model.errors import UserError
from study.storage.json_models import JsonModel, JsonScalar, parse_model, read_model
from study.storage.location import Location

WAY_OUT = "bring it back from a copy"


class Part(JsonModel, extra="forbid"):
    num_trials: Annotated[int, Field(ge=1)]
    mode: Literal["max", "min"] = "max"
    value: float | None = None


class File(JsonModel):
    name: str
    datasets: dict[str, Part]
    config: dict[str, JsonScalar] = Field(default_factory=dict[str, JsonScalar])
    values: list[float] = Field(default_factory=list[float])


WHOLE = {"name": "a", "datasets": {"demo": {"num_trials": 1}}}


def parse(value: Any) -> File:
    return parse_model(Path("study.json"), json.dumps(value).encode(), File, WAY_OUT)


def test_a_file_reads_back_as_its_model_wherever_it_is(anywhere: Location) -> None:
    from study.storage.files import write_json

    write_json(anywhere / "study.json", {**WHOLE, "later": 1, "config": {"lambda": 1.3e-05, "joint": True}})
    read = read_model(anywhere / "study.json", File, WAY_OUT)
    assert (read.name, read.datasets["demo"].num_trials, read.config) == ("a", 1, {"lambda": 1.3e-05, "joint": True})


def test_numbers_read_back_exactly() -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 123456789.12345679]
    assert parse({**WHOLE, "values": values}).values == values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "name must be a valid string, got 1"),
        ({"datasets": []}, "datasets must be an object, got []"),
        ({"datasets": {"demo": 3}}, "datasets.demo must be an object, got 3"),
        ({"datasets": {"demo": {}}}, "lacks datasets.demo.num_trials"),
        ({"datasets": {"demo": {}, "cub": {}}}, "lacks datasets.demo.num_trials, datasets.cub.num_trials"),
        (
            {"datasets": {"demo": {"num_trials": 0}}},
            "datasets.demo.num_trials must be greater than or equal to 1, got 0",
        ),
        ({"datasets": {"demo": {"num_trials": True}}}, "datasets.demo.num_trials must be a valid integer, got true"),
        (
            {"datasets": {"demo": {"num_trials": 1, "mode": "up"}}},
            "datasets.demo.mode must be 'max' or 'min', got \"up\"",
        ),
        ({"datasets": {"demo": {"num_trials": 1, "sum": 2}}}, "datasets.demo.sum is an unknown field"),
        ({"config": {"lambda": [1]}}, "config.lambda must be a string, a number or a boolean, got [1]"),
        ({"config": {"lambda": float("nan")}}, "config.lambda must be a finite number, got NaN"),
        ({"values": 1}, "values must be a list, got 1"),
        ({"values": [0.5, "x"]}, 'values.1 must be a valid number, got "x"'),
        ({"values": [float("inf")]}, "values.0 must be a finite number, got Infinity"),
        ({"name": ["long"] * 50}, 'name must be a valid string, got ["long", '),
    ],
)
def test_a_broken_rule_is_one_line_with_file_field_value_and_way_out(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=r"study\.json") as caught:
        parse(WHOLE | change)
    text = str(caught.value)
    assert text.startswith(f"study.json: {message}")
    assert text.endswith(f"; {WAY_OUT}.")
    assert "\n" not in text
    assert len(text) < 160


@pytest.mark.parametrize("content", [b"", b'{"name": ', b"\xff\xfe", b'{"name": "\xff"}'])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match=r"^study.json: is not JSON \(.+\); bring it back from a copy\.$"):
        parse_model(Path("study.json"), content, File, WAY_OUT)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(UserError, match=r"^study.json: the whole file must be an object, got \[\]; bring"):
        parse([])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"study.json: cannot be read \(No such file or directory\); bring"):
        read_model(tmp_path / "study.json", File, WAY_OUT)


def test_an_editor_may_add_a_byte_order_mark() -> None:
    assert parse_model(Path("study.json"), b"\xef\xbb\xbf" + json.dumps(WHOLE).encode(), File, WAY_OUT) == parse(WHOLE)
