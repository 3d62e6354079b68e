"""The mean relevance of each condition: what share of PAN's score rests on labelled conditions."""

from collections.abc import Mapping

from study.reporting.tables import markdown_table

FREE = "unsupervised_"
"""The prefix of the names of conditions without labels."""

IDLE = 0.01
"""Share of the relevance below which the labelled conditions carry next to nothing."""

MOST_ROWS = 20
MOST_NAMES = 5


def find_idle_attributes(relevance: Mapping[str, float]) -> list[str]:
    """Return a caution if the labelled conditions together have next to no relevance.

    Args:
        relevance: The mean relevance of each condition; empty if it is not known.

    >>> find_idle_attributes({"XNOR(red)": 0.0, "unsupervised_1": 1.0})[0].split(": ")[0]
    'all labelled conditions together (1 of 2) have a mean relevance of 0.000'
    """
    labelled = [name for name in relevance if not name.startswith(FREE)]
    share = sum(relevance[name] for name in labelled)
    if not labelled or share >= IDLE:
        return []
    others = [name for name in relevance if name.startswith(FREE)]
    shown = ", ".join(others[:MOST_NAMES]) + (f" and {more} more" if (more := len(others) - MOST_NAMES) > 0 else "")
    return [
        f"all labelled conditions together ({len(labelled)} of {len(relevance)}) have a mean relevance of {share:.3f}: "
        f"all but that lies in {shown}, so the attributes hardly contribute to the score and do not explain it"
    ]


def describe_relevance(relevance: Mapping[str, float], pairs: str) -> list[str]:
    """Return Markdown lines with the relevance of the conditions, largest first; empty if it is not known.

    Args:
        relevance: The mean relevance of each condition.
        pairs: The pairs of images over which it is the mean, in words.
    """
    if not relevance:
        return []
    labelled = {name: value for name, value in relevance.items() if not name.startswith(FREE)}
    ordered = sorted(relevance.items(), key=lambda entry: -entry[1])
    rows = [[name, f"{value:.3f}"] for name, value in ordered[:MOST_ROWS]]
    if rest := ordered[MOST_ROWS:]:
        rows.append([f"all others ({len(rest)})", f"{sum(value for _, value in rest):.3f}"])
    return [
        f"Mean relevance of the conditions over {pairs}; they add up to 1, the labelled ones ({len(labelled)}) to "
        f"{sum(labelled.values()):.3f}:",
        "",
        *markdown_table(("condition", "mean relevance"), rows),
    ]
