"""How numbers, trials and configurations are written on a page."""

from collections.abc import Mapping, Sequence

from pan_model.flat import Scalar
from pan_model.scores import Interval
from study.trials.ledger import TrialRecord

METRIC_NAMES = {
    "few_shot_accuracy": "few-shot accuracy",
    "recall@1": "recall@1",
    "score": "score (mean of FITB accuracy and AUC)",
}


def metric_name(name: str) -> str:
    """Return a metric in words.

    >>> metric_name("few_shot_accuracy"), metric_name("other")
    ('few-shot accuracy', 'other')
    """
    return METRIC_NAMES.get(name, name)


def number(value: object, digits: int = 4) -> str:
    """Return a number with significant digits, other values as they are.

    >>> number(0.00012345678), number(96), number("XNOR"), number(True)
    ('0.0001235', '96', 'XNOR', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def interval_text(interval: Interval | None) -> str | None:
    """Return a mean with its interval, None for None.

    >>> interval_text(Interval(0.5, 0.4, 0.6))
    '0.5000 [0.4000, 0.6000]'
    """
    return None if interval is None else str(interval)


def lead_text(lead: Interval | None) -> str | None:
    """Return a lead with its sign and its interval, None for None.

    >>> lead_text(Interval(0.25, 0.125, 0.375)), lead_text(Interval(-0.5, -0.75, 0.25))
    ('+0.2500 [+0.1250, +0.3750]', '-0.5000 [-0.7500, +0.2500]')
    """
    return None if lead is None else f"{lead.mean:+z.4f} [{lead.low:+z.4f}, {lead.high:+z.4f}]"


def trial_name(record: TrialRecord) -> str:
    """Return the name of a trial: its number, from 0, and its id."""
    return f"trial {record.number} ({record.trial_id})"


def describe_config(config: Mapping[str, Scalar]) -> str:
    """Return what a configuration is, in a few words.

    >>> describe_config(
    ...     {"encoder": "siamese", "supervision": "hybrid", "gate": "XNOR", "lambda": 1e-5, "num_conditions": 20}
    ... )
    'siamese encoder, hybrid with gate XNOR and λ 1e-05, 20 conditions'
    """
    none = " (no attribute labels, so no gate and no λ)"
    labels = f" with gate {config['gate']} and λ {number(config.get('lambda'))}" if "gate" in config else none
    count = config.get("num_conditions")
    return f"{config.get('encoder')} encoder, {config.get('supervision')}{labels}, " + (
        "1 condition" if count == 1 else f"{count} conditions"
    )


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Return words as an enumeration.

    >>> join_words(["a", "b", "c"])
    'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""
