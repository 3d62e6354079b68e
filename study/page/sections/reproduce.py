"""The data, and how to reproduce the study: what was read, versions, seeds and commands."""

from pan_model.command_line import counted
from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Part, Section, Table, Text, Tone
from study.page.commands import viewer_commands
from study.page.formats import number

LABELS = {
    "git_commit": "commit",
    "pan_study": "PAN Study",
    "created": "begun",
}


def reproduce_section(study: StudyData) -> Section:
    """Return the section about data, versions and commands."""
    return Section(
        id="reproduce",
        heading="Data and how to reproduce",
        lead="What was read and what was left out, and what determines the result: with the same data, versions and "
        "seed, trials give the same numbers on the same machine.",
        parts=[
            *(
                Part(heading=name if len(study.datasets) > 1 else "", blocks=_data(data))
                for name, data in study.datasets.items()
            ),
            Part(heading="The study" if len(study.datasets) > 1 else "", blocks=_study(study)),
        ],
    )


def _data(data: DatasetData) -> list[Block]:
    entry = data.entry
    recorded, features = entry.get("data", {}), entry.get("features", {})
    rows: list[list[object]] = [
        [
            "items",
            _items(recorded.get("splits", {})),
        ],
        ["fingerprint of the data", recorded.get("fingerprint", "not recorded")],
        *([name, _plain(value)] for name, value in features.items()),
        *([name, _plain(value)] for name, value in recorded.get("options", {}).items()),
        ["trials, at most", entry["num_trials"]],
        ["epochs of a trial, at most", entry["max_epochs"]],
        ["epochs before a trial can be stopped", entry.get("grace_epochs", "not recorded")],
    ]
    blocks: list[Block] = [Table(caption=f"Data and features of {data.dataset}", heads=("what", "value"), rows=rows)]
    blocks += [Text(tone=Tone.NOTE, text=f"Data: {note}.") for note in data.summary.notes]
    if not data.summary.notes:
        blocks.append(Text(tone=Tone.NOTE, text="Of the files given, none was left out."))
    if "space" not in entry:
        text = "the search space. This study was made by a version that does not record it."
        return [*blocks, Text(tone=Tone.MISSING, text=text)]
    return [*blocks, _space(entry["space"]["parameters"])]


def _items(splits: dict[str, int]) -> str:
    if not splits:
        return "not recorded"
    unread = "" if "test" in splits else ", test: not counted, since only the final training reads it"
    return ", ".join(f"{split}: {count}" for split, count in splits.items()) + unread


def _space(parameters: dict[str, dict[str, object]]) -> Table:
    return Table(
        caption=f"The search space: {counted(len(parameters), 'parameter')}",
        heads=("parameter", "values"),
        rows=[[name, _values(record)] for name, record in parameters.items()],
        folded=True,
    )


def _values(record: dict[str, object]) -> str:
    choices = record.get("choices")
    if isinstance(choices, list):
        return ", ".join(map(number, choices))
    return f"{number(record.get('low'))} to {number(record.get('high'))}{', log scale' if record.get('log') else ''}"


def _study(study: StudyData) -> list[Block]:
    signed = {name: value for name, value in study.content["signed"].items() if name != "datasets"}
    return [
        Table(
            caption="Versions and settings of the study",
            heads=("what", "value"),
            rows=[
                *([LABELS.get(name, name), _plain(value)] for name, value in study.content["provenance"].items()),
                ["signature", study.content["signature"]],
                *([name, _plain(value)] for name, value in signed.items()),
            ],
            folded=True,
        ),
        viewer_commands(study),
    ]


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    return "none" if value is None else number(value)
