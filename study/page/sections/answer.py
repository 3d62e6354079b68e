"""The answer: what won, by how much over what, and whether to believe it."""

from pan_model.command_line import counted
from pan_model.data.splits import Split
from study.analysis.cheapest import find_cheapest
from study.analysis.paper_numbers import PaperNumber, find_paper_numbers
from study.analysis.study_data import DatasetData, StudyData
from study.page.blocks import Block, Chart, Facts, Part, Section, Table, Text, Tone
from study.page.charts.methods import methods_chart
from study.page.commands import next_commands
from study.page.formats import describe_config, interval_text, lead_text, metric_name, number
from study.page.sections.verdict import split_of, verdict
from study.page.sections.words import glossary
from study.reporting.comparison import describe_settings, rank_baselines
from study.reporting.selection import CANDIDATE_HEADS, SELECTION_NOTE, candidate_rows, describe_values
from study.trials.ledger import TrialRecord, count_by_status

LARGE_GAP = 0.05
"""Lead of the training classes over those of val from which it is called large."""

FEW_COMPLETED = 10
"""Number of completed trials below which the search has hardly begun."""


def answer_section(study: StudyData) -> Section:
    """Return the section with the result of each dataset."""
    return Section(
        id="answer",
        heading="The answer",
        lead="What won, by how much over the baselines, and how far to trust it. All methods answer the same "
        "questions, so a lead is the mean difference question by question. The 95% intervals cover the luck of which "
        "questions were asked. They do not cover the luck of training (another seed) or of the classes. A lead whose "
        "interval contains 0 may be noise.",
        parts=[
            *([Part(blocks=[_overview(study)])] if len(study.datasets) > 1 else []),
            *(
                Part(heading=name if len(study.datasets) > 1 else "", blocks=_answer(study, data))
                for name, data in study.datasets.items()
            ),
        ],
    )


def _overview(study: StudyData) -> Table:
    """Return a table with a row for each dataset."""
    rows: list[list[object]] = []
    for name, data in study.datasets.items():
        pan, *baselines = data.summary.scores
        split = split_of(data)
        leads = rank_baselines(baselines, split)
        value = interval_text(pan.val if split is Split.VAL else pan.test)
        rows.append(
            [
                name,
                f"{metric_name(data.objective.name)} on {split}: {value}" if value else None,
                f"{lead_text(leads[0].ahead)} over {leads[0].method}" if leads else None,
                describe_config(data.winner.config) if data.winner else "no trial completed",
            ]
        )
    heads = ("dataset", "value", "lead over the strongest baseline", "best configuration")
    return Table(caption="All datasets", heads=heads, rows=rows)


def _answer(study: StudyData, data: DatasetData) -> list[Block]:
    if data.summary.best is None:
        return [*_no_winner(study, data), next_commands(study, data)]
    winner, value, epoch = data.summary.best
    blocks: list[Block] = [
        Text(tone=Tone.ANSWER, text=verdict(data, winner, value)),
        Facts(facts=_facts(winner, epoch)),
        *_trust(data),
        *_selection(data),
        *_methods(data),
        *_paper(data),
        *_cheapest(data),
        Table(
            caption="All parameters of the winner",
            heads=("parameter", "value"),
            rows=[(name, number(value)) for name, value in winner.config.items()],
            folded=True,
        ),
        glossary(data),
        next_commands(study, data),
    ]
    return blocks


def _no_winner(study: StudyData, data: DatasetData) -> list[Block]:
    counts = count_by_status(data.records, over=study.over)
    text = (
        f"There is no best configuration yet: no trial has completed ({counts}). A trial completes with its last "
        f"epoch, up to {data.max_epochs}, or when it ends by itself; trials that are stopped early or fail cannot win."
    )
    return [Text(tone=Tone.MISSING, text=text), *_cautions(data), *_methods(data)]


def _facts(winner: TrialRecord, epoch: int) -> list[tuple[str, object]]:
    config = winner.config
    names = {
        "encoder": "encoder",
        "supervision": "supervision",
        "gate": "gate",
        "lambda": "λ, weight of the attribute loss",
        "num_conditions": "conditions",
        "learning_rate": "learning rate",
    }
    shown = [(label, number(config[name])) for name, label in names.items() if name in config]
    return [
        *shown,
        ("best epoch", f"{epoch} of {len(winner.history)} run"),
    ]


def _trust(data: DatasetData) -> list[Block]:
    """Return what limits the result: the choice among trials, missing test scores, and the cautions."""
    completed, ended, selection = len(data.completed), len(data.records), data.summary.selection
    among = f"{counted(completed, 'completed trial')} (of {ended} started)"
    chosen = (
        f"{counted(len(selection.candidates), 'candidate')} among {among} were chosen by their values on val, and the "
        "winner is the best of them at confirmation. So its value on val is optimistic."
        if selection.chosen
        else f"The winner was chosen among {among} on the val split, so its val value is optimistic, the more so the "
        "more trials there were."
    )
    blocks: list[Block] = []
    if data.summary.scores[0].test is None:
        blocks.append(
            Text(
                tone=Tone.MISSING,
                text="test scores. There has been no final training of the winner, which alone reads the test split; "
                "the first command under “What next” does it.",
            )
        )
    if completed > 1:
        blocks.append(Text(text=chosen))
    if completed < FEW_COMPLETED:
        blocks.append(
            Text(
                tone=Tone.CAUTION,
                text=f"only {counted(completed, 'trial')} completed; another study would probably find another winner.",
            )
        )
    return [*blocks, *_cautions(data)]


def _selection(data: DatasetData) -> list[Block]:
    """Return the winner's values at selection, at confirmation and on test, and the table of candidates."""
    selection = data.summary.selection
    values = describe_values(selection, data.summary.scores[0].test)
    blocks: list[Block] = [Text(text=f"How the winner's {metric_name(data.objective.name)} held: {values}.")]
    if selection.planned:
        caption = f"Selection of the winner on {data.dataset}"
        blocks += [
            Text(text=SELECTION_NOTE),
            Table(caption=caption, heads=CANDIDATE_HEADS, rows=candidate_rows(selection)),
        ]
    return blocks


def _cautions(data: DatasetData) -> list[Block]:
    return [Text(tone=Tone.CAUTION, text=f"{caution}.") for caution in data.summary.cautions]


def _methods(data: DatasetData) -> list[Block]:
    """Return the chart and the table of PAN and the baselines."""
    scores = [entry for entry in data.summary.scores if entry.val is not None or entry.test is not None]
    if not scores:
        return [Text(tone=Tone.MISSING, text="baselines. None has been scored yet, because the study ended before.")]
    tested = any(entry.test is not None for entry in scores)
    heads = ["method", *(["test", "lead of PAN on test"] if tested else []), "val", "lead of PAN on val"]
    rows = [
        [
            entry.method,
            *([interval_text(entry.test), lead_text(entry.test_ahead)] if tested else []),
            interval_text(entry.val),
            lead_text(entry.val_ahead),
        ]
        for entry in scores
    ]
    metric = metric_name(data.objective.name)
    table = Table(caption=f"{metric.capitalize()} of PAN and the baselines on {data.dataset}", heads=heads, rows=rows)
    figure = methods_chart(
        data.objective.name,
        [(entry.method, entry.val) for entry in scores if entry.val is not None],
        [(entry.method, entry.test) for entry in scores if entry.test is not None],
    )
    return [
        Chart(
            title="PAN and the baselines",
            figure=figure,
            finding="Each mark is a method's score, the bar its 95% interval. Compare methods by the paired leads in "
            "the table: intervals of two methods may overlap although one is clearly ahead on the same questions.",
            wide=True,
        ),
        table,
        *_settings(data),
        *_train_note(data),
    ]


def _settings(data: DatasetData) -> list[Block]:
    settings = data.summary.settings
    return [Text(text=f"Settings of baselines, chosen on val: {describe_settings(settings)}.")] if settings else []


def _paper(data: DatasetData) -> list[Block]:
    """Return the published numbers on the dataset, and what differs in the protocol."""
    paper = find_paper_numbers(data.dataset)
    if paper is None:
        return [Text(tone=Tone.NOTE, text=f"Published numbers to compare with: none are known for {data.dataset}.")]
    rows = [
        [
            entry.method,
            f"{entry.value:.4f}" + (f" ± {entry.plus_minus:.4f}" if entry.plus_minus is not None else ""),
            f"{entry.metric} ({entry.source})",
        ]
        for entry in paper.numbers
    ]
    return [
        Table(
            caption="Published numbers on the test split, under other conditions than this study's",
            heads=("method", "published", "metric (source)"),
            rows=rows,
        ),
        Text(tone=Tone.NOTE, text=" ".join(paper.statements)),
        Text(text=f"What differs here: {_paper_setting(data, paper.numbers[0])}{paper.differs}"),
    ]


def _paper_setting(data: DatasetData, published: PaperNumber) -> str:
    """Return why the baseline with the paper's parameters has another value than the paper's model."""
    here = next((entry.test for entry in data.summary.scores if entry.method == "paper_setting"), None)
    features = data.entry.get("features", {})
    comparable = published.method.startswith("PAN") and data.objective.name == "few_shot_accuracy"
    if (
        here is None
        or not comparable
        or features.get("regime", "frozen") != "frozen"
        or "backbone_training" in features
    ):
        return ""
    return (
        f"paper_setting has {here.mean:.4f} here, not {published.value:.4f}: it has the paper's parameters on features "
        f"of a frozen {features.get('backbone', 'backbone')}, where the paper first trains the backbone on these "
        "classes, so it is not a replication. "
    )


def _cheapest(data: DatasetData) -> list[Block]:
    """Return the cheapest configuration that is within noise of the winner."""
    found = find_cheapest(data)
    if found is None:
        return []
    if found.is_winner:
        return [Text(text=found.sentence)]
    rows = [
        [
            name,
            f"{candidate.number} ({candidate.trial_id})",
            f"{candidate.value:.4f}",
            candidate.num_conditions,
            candidate.embedding_dim or "not known",
            None if candidate.operations_per_pair is None else f"{candidate.operations_per_pair:,}",
            None if candidate.evaluate_s is None else f"{candidate.evaluate_s:.2f}",
        ]
        for name, candidate in (("winner", found.winner), ("cheapest within noise", found.cheapest))
    ]
    heads = ("which", "trial", "val", "conditions", "embedding width", "operations a pair", "seconds to score val")
    return [
        Text(text=f"Cheapest within noise of the best: {found.sentence}"),
        Table(caption="Cost of the winner and of the cheapest configuration within noise", heads=heads, rows=rows),
    ]


def _train_note(data: DatasetData) -> list[Block]:
    train = data.summary.scores[0].train
    val = data.summary.scores[0].val
    if train is None or val is None:
        return []
    gap = data.objective.signed(train - val.mean)
    if gap <= (val.high - val.low) / 2:
        judged = "no gap beyond the noise of val, so no sign that it overfits the training classes"
    elif gap < LARGE_GAP:
        judged = f"a gap of {gap:.4f}, which is small: it hardly overfits the training classes"
    else:
        judged = f"a gap of {gap:.4f}, which is large: it overfits the training classes"
    return [
        Text(
            tone=Tone.NOTE,
            text=f"On its training classes the winner has {train:.4f} (fewer questions), against {val.mean:.4f} on "
            f"val: {judged}. On val, paper_setting was trained with the study's epochs and at most 8192 pairs in each; "
            "on test, with all pairs and up to the paper's number of epochs.",
        )
    ]
