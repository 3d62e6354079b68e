"""What mattered: the importance of parameters, parallel coordinates, and the trials that failed."""

from pan_model.command_line import counted
from study.analysis.coordinates import find_coordinates
from study.analysis.failures import group_failures
from study.analysis.importance import Importance, find_importance
from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Chart, Part, Section, Table, Text, Tone
from study.page.charts import coordinates_chart, importance_chart
from study.page.charts.parameters import shown_parameters

MIN_LINES = 2
"""Number of full-length trials from which parallel coordinates show something."""


def parameters_section(study: StudyData) -> Section:
    """Return the section about the parameters."""
    return Section(
        id="parameters",
        heading="What mattered",
        lead="Which parameters separate the best trials from the others, and by how much more than chance would. "
        "Parameters that cannot be told from chance are no finding, however high they stand.",
        parts=[
            Part(heading=name if len(study.datasets) > 1 else "", blocks=_parameters(data))
            for name, data in study.datasets.items()
        ],
    )


def _parameters(data: DatasetData) -> list[Block]:
    importance = find_importance(data)
    first = [parameter.name for parameter in importance.parameters]
    num_top = None if importance.too_few else importance.num_top
    return [_importance(importance), *_coordinates(data, first, num_top), *_failures(data)]


def _importance(importance: Importance) -> Block:
    if importance.too_few:
        return Text(tone=Tone.MISSING, text=f"the importance of parameters. {importance.too_few}")
    num_folded = len(importance.parameters) - len(shown_parameters(importance))
    few = f" {counted(num_folded, 'parameter')} with a smaller share stand in the table alone." if num_folded else ""
    return Chart(
        title="Importance of parameters",
        figure=importance_chart(importance),
        finding=f"{importance.verdict} The {importance.num_top} best are compared with all "
        f"{importance.num_completed} completed and {importance.num_stopped} stopped trials (PED-ANOVA); intervals are "
        f"95% over {importance.num_resamples} resamples of the trials, whose values vary by the noise of the metric. "
        f"The circle is the share in all trials, and can lie at the end of the interval of the resamples.{few}",
        table=Table(
            caption="Importance of all parameters",
            heads=("parameter", "share [95% interval]", "share by chance", "beyond chance", "trials that have it"),
            rows=[
                [
                    parameter.name,
                    f"{parameter.share:.3f} [{parameter.low:.3f}, {parameter.high:.3f}]",
                    f"{parameter.by_chance:.3f}",
                    "yes" if parameter.stands_out else "no",
                    parameter.num_trials,
                ]
                for parameter in importance.parameters
            ],
            folded=True,
        ),
        wide=True,
    )


def _coordinates(data: DatasetData, first: list[str], num_top: int | None) -> list[Block]:
    coordinates = find_coordinates(data, first) if first else find_coordinates(data)
    if len(coordinates.lines) < MIN_LINES or not coordinates.axes:
        text = "parallel coordinates. They need at least two full-length trials that differ."
        return [Text(tone=Tone.MISSING, text=text)]
    num_lines = len(coordinates.lines)
    best = list(reversed(coordinates.lines))[:10]
    return [
        Chart(
            title="Parallel coordinates",
            figure=coordinates_chart(coordinates, num_top),
            finding=f"Each of {counted(num_lines, 'full-length trial')} is a line through its parameters, the most "
            "important first, to its value at the right. Thick lines of the best trials may come together by chance, "
            "or because the search tried that value often; importance, above, tells what is more than that. “none” "
            "means that a trial lacks the parameter.",
            table=Table(
                caption=f"The {len(best)} best full-length trials",
                heads=("trial", coordinates.metric, *(axis.name for axis in coordinates.axes)),
                rows=[
                    [
                        line.number,
                        f"{line.value:.4f}",
                        *(f"{value:.3g}" if isinstance(value, float) else value for value in line.parameters),
                    ]
                    for line in best
                ],
                folded=True,
            ),
            wide=True,
            min_width=76 * (len(coordinates.axes) + 1),
        )
    ]


def _failures(data: DatasetData) -> list[Block]:
    groups = group_failures(data)
    if not groups:
        return [Text(text="No trial failed.")]
    return [
        Table(
            caption="Failed trials, by reason",
            heads=("trials", "epochs before", "reason", "ids"),
            rows=[[len(group.trial_ids), group.epochs, group.reason, _ids(group.trial_ids)] for group in groups],
        )
    ]


def _ids(trial_ids: tuple[str, ...]) -> str:
    more = len(trial_ids) - 5
    return ", ".join(trial_ids[:5]) + (f" and {more} more" if more > 0 else "")
