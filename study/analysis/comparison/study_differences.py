"""What differs between studies besides their results, from study.json: search, space, data, backbone and code."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pan_model.command_line import counted
from pan_model.datasets import ReaderOptions, find_dataset
from study.config.flags import flags_of
from study.config.identity import content_of
from study.config.resume import with_current_digests
from study.config.space_description import record_texts
from study.config.study_config import StudyConfig

Content = Mapping[str, Any]
"""The content of a study.json."""


class Topic(StrEnum):
    """What kind of difference it is."""

    SPACE = "space"
    DATA = "data"
    BACKBONE = "backbone"
    FLAGS = "flags"
    CODE = "code"


@dataclass(frozen=True, kw_only=True)
class StudyDifference:
    """Something that is not the same in all studies.

    Attributes:
        topic: The kind.
        dataset: The dataset it is about; empty if it is about the whole study.
        what: Its name, such as a parameter of the search space, a flag or a library.
        values: Its value in each study, in words; empty where a study has no such dataset.
    """

    topic: Topic
    dataset: str
    what: str
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name with the dataset, such as "cub: lambda"."""
        return f"{self.dataset}: {self.what}" if self.dataset else self.what

    def by_value(self, labels: Sequence[str]) -> str:
        """Return the values, each with the studies that have it, such as "20 (a, c); 40 (b)".

        Args:
            labels: The name of each study.
        """
        groups: dict[str, list[str]] = {}
        for label, value in zip(labels, self.values, strict=True):
            groups.setdefault(value, []).append(label)
        return "; ".join(f"{value} ({', '.join(having)})" for value, having in groups.items() if value)


def find_study_differences(contents: Sequence[Content]) -> list[StudyDifference]:
    """Return what differs between studies, in the order of the topics.

    Names, folders and the machine's resources are no differences. What studies of earlier releases do not record
    counts as the default.

    Args:
        contents: The content of each study.json.
    """
    found = [*_compare_datasets(contents), *_compare_flags(contents), *_compare_code(contents)]
    order = list(Topic)
    return sorted(found, key=lambda difference: order.index(difference.topic))


def _compare_datasets(contents: Sequence[Content]) -> Iterator[StudyDifference]:
    names = dict.fromkeys(name for content in contents for name in content["datasets"])
    for dataset in names:
        entries = [content["datasets"].get(dataset) for content in contents]
        if sum(entry is not None for entry in entries) < 2:
            continue
        for topic, described in (
            (Topic.SPACE, _describe_spaces(dataset, contents)),
            (Topic.DATA, [_describe_data(dataset, entry) for entry in entries]),
            (Topic.BACKBONE, _describe_backbones(entries)),
            (Topic.FLAGS, [None if entry is None else _describe_search(entry) for entry in entries]),
        ):
            yield from _rows(topic, dataset, described)


def _rows(
    topic: Topic, dataset: str, described: Sequence[Mapping[str, str] | None], absent: str = "none"
) -> Iterator[StudyDifference]:
    """Yield the entries that are not the same in all descriptions; None describes a study without the dataset."""
    given = [entries for entries in described if entries is not None]
    for what in dict.fromkeys(name for entries in given for name in entries):
        if len({entries.get(what, absent) for entries in given}) > 1:
            values = tuple("" if entries is None else entries.get(what, absent) for entries in described)
            yield StudyDifference(topic=topic, dataset=dataset, what=what, values=values)


def _describe_spaces(dataset: str, contents: Sequence[Content]) -> list[dict[str, str] | None]:
    """Describe search spaces by their parameters; by their digest if a study of version 0.1 did not record them."""
    spaces = [content["datasets"].get(dataset, {}).get("space") for content in contents]
    present = [dataset in content["datasets"] for content in contents]
    if any(space is None and here for space, here in zip(spaces, present, strict=True)):
        digests = _current_digests(dataset, contents)
        return [
            {"digest of the space": digest} if here else None for digest, here in zip(digests, present, strict=True)
        ]
    names = dict.fromkeys(name for space in spaces if space for name in space["parameters"])
    described: list[dict[str, str] | None] = [{} if here else None for here in present]
    for name in names:
        texts = record_texts([space["parameters"].get(name) if space else None for space in spaces])
        for entries, text in zip(described, texts, strict=True):
            if entries is not None:
                entries[name] = text
    firsts = [json.dumps(space["first_trials"], sort_keys=True) if space else "" for space in spaces]
    for entries, first, space in zip(described, firsts, spaces, strict=True):
        if entries is not None and len({text for text in firsts if text}) > 1:
            same = next(place for place, text in enumerate(firsts) if text == first)
            entries["first trials"] = f"{len(space['first_trials'])}, set {same + 1}"
    return described


def _current_digests(dataset: str, contents: Sequence[Content]) -> list[str]:
    """Return the digest of each study's search space; those of version 0.1 are replaced if the space is unchanged."""
    digests: list[str] = []
    newest = [content["signed"] for content in contents if content["datasets"].get(dataset, {}).get("space")]
    for content in contents:
        signed = with_current_digests(content["signed"], newest[-1]) if newest else content["signed"]
        digests.append(str(signed["datasets"].get(dataset, {}).get("space", "unknown")))
    return digests


def _describe_data(dataset: str, entry: Mapping[str, Any] | None) -> dict[str, str] | None:
    if entry is None:
        return None
    data = entry["data"]
    options = ReaderOptions.from_json(data.get("options", {}))
    of_dataset = find_dataset(dataset).options
    chosen = {"polyvore_split": options.polyvore_split.value, "val_questions": options.val_questions.value}
    return {
        "objective": f"{entry['objective']['name']} ({entry['objective']['mode']})",
        "fingerprint": data["fingerprint"].removeprefix("sha256:")[:12],
        **{f"items of {split}": str(size) for split, size in data["splits"].items()},
        **{f"left out ({reason})": str(count) for reason, count in data.get("left_out", {}).items()},
        "unreadable images": counted(len(data.get("unreadable", {})), "image"),
        **{name: value for name, value in chosen.items() if name in of_dataset},
    }


def _describe_backbones(entries: Sequence[Mapping[str, Any] | None]) -> list[dict[str, str] | None]:
    """Describe features by what identifies them; weights by their hash, whatever the name of their file is."""
    return [None if entry is None else _describe_features(entry["features"]) for entry in entries]


def _describe_features(features: Mapping[str, Any]) -> dict[str, str]:
    identifying = content_of(features) | {"pooling": features.get("pooling", "avg")}
    identifying["weights_sha256"] = features["weights_sha256"][:12]
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in identifying.items()}


def _describe_search(entry: Mapping[str, Any]) -> dict[str, str]:
    resolved = {"--num-trials": "num_trials", "--max-epochs": "max_epochs", "--grace-epochs": "grace_epochs"}
    return {flag: str(entry[name]) for flag, name in resolved.items() if name in entry}


SHOWN_ELSEWHERE = {
    *("name", "output", "resume", "dry_run", "data_root", "cache_dir", "ray_address"),
    *("backbone", "weights", "image_size", "preprocessing", "pooling", "regime", "backbone_training"),
    *("num_trials", "max_epochs", "grace_epochs", "polyvore_split", "attribute_words", "val_questions", "task"),
}
"""Flags that do not change results, that features or data describe, or whose resolved value is listed by dataset."""


def _compare_flags(contents: Sequence[Content]) -> Iterable[StudyDifference]:
    flags = {name: flag for name, flag in flags_of(StudyConfig).items() if name not in SHOWN_ELSEWHERE}
    described = [
        {
            flag.option: _flag_text(_flag_value(content, name, flag.default), flag.default_text)
            for name, flag in flags.items()
        }
        for content in contents
    ]
    return _rows(Topic.FLAGS, "", described)


def _flag_value(content: Content, name: str, default: Any) -> Any:
    """Return the value of a flag; if it was not given, the one that the study had, if that is recorded."""
    value = content.get("config", {}).get(name, default)
    return content.get("signed", {}).get(name) if value is None else value


def _flag_text(value: Any, default_text: str) -> str:
    if value is None or value in ([], ()):
        return f"default ({default_text.replace('`', '')})" if default_text not in ("", "none") else "none"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _compare_code(contents: Sequence[Content]) -> Iterable[StudyDifference]:
    described = [_describe_code(content) for content in contents]
    return _rows(Topic.CODE, "", described, absent="not used")


def _describe_code(content: Content) -> dict[str, str]:
    """Describe the code of all runs of a study; those that resumed it may have had another."""
    runs = [content["provenance"], *content.get("resumed", [])]
    names = [name for name in content["provenance"] if name != "created"]
    return {
        name: ", then ".join(dict.fromkeys(_version_text(name, str(run[name])) for run in runs if name in run))
        for name in names
    }


def _version_text(name: str, version: str) -> str:
    """Shorten a commit to 12 digits; "+changes" stays."""
    commit, plus, changes = version.partition("+")
    return f"{commit[:12]}{plus}{changes}" if name == "git_commit" else version
