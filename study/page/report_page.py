"""The report of a study: `report.html`, from the data of the study to HTML."""

from datetime import UTC, datetime

from study.analysis.study_data import StudyData
from study.page.blocks import Page, Text, Tone
from study.page.formats import join_words
from study.page.render import render_page
from study.page.sections.answer import answer_section
from study.page.sections.examples import examples_section
from study.page.sections.figures import figures_section
from study.page.sections.parameters import parameters_section
from study.page.sections.reproduce import reproduce_section
from study.page.sections.search import search_section
from study.storage.driver_file import DriverState, read_driver
from study.storage.files import write_text
from study.terminal import duration

SECTIONS = (
    answer_section,
    figures_section,
    search_section,
    parameters_section,
    examples_section,
    reproduce_section,
)
"""The sections in the order of the page."""


def write_report_page(study: StudyData, now_s: float) -> None:
    """Write report.html next to study.json.

    Args:
        study: The study.
        now_s: The time, in Unix seconds.
    """
    write_text(study.paths.report, report_page(study, now_s))


def report_page(study: StudyData, now_s: float) -> str:
    """Return the report of a study as HTML."""
    sections = [make(study) for make in SECTIONS]
    return render_page(
        Page(
            title=f"Study {study.name}",
            subtitle=_subtitle(study),
            notes=_state(study),
            sections=sections,
            footer=f"Written by PAN Study on {datetime.fromtimestamp(now_s, UTC):%Y-%m-%d %H:%M} UTC.",
        )
    )


def _subtitle(study: StudyData) -> str:
    counts = [
        f"{len(data.records)} of {data.summary.planned} trials on {name}" for name, data in study.datasets.items()
    ]
    begun = datetime.fromisoformat(study.content["provenance"]["created"])
    return f"Begun {begun:%Y-%m-%d %H:%M} UTC: {join_words(counts)}."


def _state(study: StudyData) -> list[Text]:
    """Return what a reader should know before the numbers: whether the study has ended."""
    driver = read_driver(study.paths)
    if driver is None:
        lacking = any(len(data.records) < data.summary.planned for data in study.datasets.values())
        text = "whether the study still runs: it was made by a version that does not record it."
        return [Text(tone=Tone.MISSING, text=text)] if lacking else []
    if not study.over:
        text = "the study is still running: numbers are those of the moment of writing, and the winner may change."
        return [Text(tone=Tone.CAUTION, text=text)]
    took = f"after {duration(driver.ended_s - driver.started_s)} of the last run"
    if driver.state is DriverState.DONE:
        return []
    reason = f" ({driver.reason})" if driver.reason else ""
    return [Text(tone=Tone.CAUTION, text=f"the study has not finished: it was interrupted {took}{reason}.")]
