"""State dicts inside checkpoints: find the one that fits a backbone, and strip what wrappers added to its keys."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.backbones.config import TIMM
from pan_model.backbones.timm_models import convert_state
from pan_model.backbones.weights_files import WAY_OUT
from pan_model.command_line import counted
from pan_model.errors import UserError

StateDict = Mapping[str, Tensor]

WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Parts of keys that torch.compile, FSDP and activation checkpointing insert anywhere."""

WHOLE_WRAPPER = "module."
"""The prefix of DataParallel, which wraps all of a network: no other keys may be next to it."""

SECONDARY = {
    *("encoder_k", "key_encoder", "momentum_encoder", "momentum_backbone", "backbone_momentum"),
    *("target_encoder", "target_network", "target_net", "target_backbone"),
    *("student", "student_backbone"),
}
"""Names of networks that methods train next to the one whose features they evaluate: MoCo's key encoder, BYOL's target
network, DINO's student."""

MAX_DEPTH = 3
"""How deep a state dict may be nested in a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class StatePart:
    """A state dict of a checkpoint, without a prefix of its keys.

    Attributes:
        names: The keys of the checkpoint that lead to the state dict.
        state: The tensors by their keys, without wrappers and prefix.
        prefix: The prefix that was removed.
        wrapper: The wrapper that was removed within keys; empty for none.
        unused: Keys of the state dict without the prefix.
        converted: Whether timm has converted the keys.
    """

    names: tuple[str, ...]
    state: StateDict
    prefix: str = ""
    wrapper: str = ""
    unused: tuple[str, ...] = ()
    converted: bool = False

    @property
    def is_secondary(self) -> bool:
        """Whether the keys name a network that is trained next to the one that is evaluated."""
        return not SECONDARY.isdisjoint([*self.names, *self.prefix.split(".")])

    def __str__(self) -> str:
        """Describe the part; empty for a plain state dict."""
        unused = f"{counted(len(self.unused), 'other tensor')} not used (first {self.unused[0]})" if self.unused else ""
        parts = [
            "/".join(self.names),
            f"prefix {self.prefix} removed" if self.prefix else "",
            f"{self.wrapper} removed" if self.wrapper else "",
            "keys converted by timm" if self.converted else "",
            unused,
        ]
        return ", ".join(filter(None, parts))


def find_state_dict(content: object, backbone: Backbone, path: Path) -> StatePart:
    """Return the state dict of a checkpoint that fits a backbone, without the classifier's keys.

    It may be nested in dictionaries, and its keys may have a prefix, if only one choice fits. If several fit, those of
    `SECONDARY` networks are left out, so that MoCo's query encoder and DINO's teacher are taken.

    Args:
        content: What the file holds.
        backbone: The backbone.
        path: The file, for messages.

    Raises:
        UserError: No state dict fits, or several do.
    """
    dicts = list(_state_dicts(content))
    if not dicts:
        raise UserError(f"weights {path}: {_describe_content(content)}.")
    parts = [part for whole in dicts for part in _parts(whole, backbone)]
    fitting = [part for part in parts if not describe_misfit(backbone, part)]
    fitting = fitting or [part for whole in dicts for part in _converted(whole, backbone)]
    if not fitting:
        closest = max(parts, key=lambda part: _num_matches(backbone, part), default=dicts[0])
        _check_finite(closest.state, path)
        raise UserError(_misfit(closest, backbone, path))
    chosen = _choose(fitting, path)
    expected = backbone.network.state_dict()
    given = {key: value for key, value in chosen.state.items() if key in expected}
    _check_finite(given, path)
    return replace(chosen, state=given)


def describe_misfit(backbone: Backbone, part: StatePart) -> list[str]:
    """Return what is wrong with a state dict for a backbone: missing, left over and different tensors, with counts."""
    expected, state = backbone.network.state_dict(), part.state
    # Files of torch < 0.4.1 lack num_batches_tracked, which does not affect features.
    missing = [key for key in expected if key not in state and not key.endswith(".num_batches_tracked")]
    left_over = [key for key in state if key not in expected and not _is_classifier(key, backbone, part)]
    both = [key for key in expected if key in state]
    reshaped = [key for key in both if state[key].shape != expected[key].shape]
    retyped = [key for key in both if state[key].is_floating_point() != expected[key].is_floating_point()]
    faults = [_count_keys(missing, "missing"), _count_keys(left_over, "left over")]
    if reshaped:
        shapes = f"{tuple(state[reshaped[0]].shape)} instead of {tuple(expected[reshaped[0]].shape)}"
        faults.append(f"{_count_keys(reshaped, 'of another shape')}: {shapes}")
    if retyped:
        types = f"{state[retyped[0]].dtype} instead of {expected[retyped[0]].dtype}"
        faults.append(f"{_count_keys(retyped, 'of another type')}: {types}")
    return [fault for fault in faults if fault]


def _is_classifier(key: str, backbone: Backbone, part: StatePart) -> bool:
    """Return whether a key belongs to the classifier.

    Where the network is a part of a larger one, its classifier may have been replaced, such as by MoCo's projection.
    """
    if key in backbone.classifier_keys:
        return True
    if part.prefix in ("", WHOLE_WRAPPER):
        return False
    return key.partition(".")[0] in {name.partition(".")[0] for name in backbone.classifier_keys}


def _state_dicts(content: object, names: tuple[str, ...] = ()) -> Iterator[StatePart]:
    """Yield the mappings of names to tensors that an object holds, itself included."""
    if not isinstance(content, Mapping) or len(names) > MAX_DEPTH:
        return
    values = cast("Mapping[object, object]", content)
    tensors = {key: value for key, value in values.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors and len(tensors) == len(values):
        wrappers = {match[0] for key in tensors for match in WRAPPERS.finditer(key)}
        state = {_current_key(WRAPPERS.sub("", key)): value for key, value in tensors.items()}
        yield StatePart(names=names, state=state, wrapper=" ".join(sorted(wrappers)))
        return
    for key, value in values.items():
        if isinstance(key, str):
            yield from _state_dicts(value, (*names, key))


def _parts(whole: StatePart, backbone: Backbone) -> Iterator[StatePart]:
    """Yield a state dict, and its parts under each prefix of the backbone's first keys."""
    yield whole
    prefixes = dict[str, None]()
    for first in islice(backbone.network.state_dict(), 3):  # some files lack some keys
        ends = [key.removesuffix(first) for key in whole.state if key.endswith(f".{first}")]
        prefixes |= dict.fromkeys(ends)
    for prefix in prefixes:
        state = {key.removeprefix(prefix): value for key, value in whole.state.items() if key.startswith(prefix)}
        unused = tuple(key for key in whole.state if not key.startswith(prefix))
        if not (unused and prefix == WHOLE_WRAPPER):
            yield StatePart(names=whole.names, state=state, prefix=prefix, wrapper=whole.wrapper, unused=unused)


def _converted(whole: StatePart, backbone: Backbone) -> Iterator[StatePart]:
    """Yield a state dict with the keys of a model's authors as timm converts them, if the result fits."""
    if not backbone.name.startswith(TIMM):
        return
    state = convert_state(backbone.name, backbone.network, whole.state)
    if state is not None:
        part = StatePart(names=whole.names, state=state, wrapper=whole.wrapper, converted=True)
        if not describe_misfit(backbone, part):
            yield part


def _choose(fitting: list[StatePart], path: Path) -> StatePart:
    """Return the only part that fits, the primary one, or one of several with the same tensors."""
    primary = [part for part in fitting if not part.is_secondary] or fitting
    first, *others = primary
    if all(_same_tensors(first.state, other.state) for other in others):
        return first
    names = " and ".join("/".join([*part.names, part.prefix]).rstrip("/.") or "the top level" for part in primary)
    raise UserError(f"weights {path}: {names} fit the backbone and differ; {WAY_OUT}, with one of them only.")


def _same_tensors(state_1: StateDict, state_2: StateDict) -> bool:
    return state_1.keys() == state_2.keys() and all(value.equal(state_2[key]) for key, value in state_1.items())


def _num_matches(backbone: Backbone, part: StatePart) -> int:
    expected = backbone.network.state_dict()
    return sum(key in expected and value.shape == expected[key].shape for key, value in part.state.items())


def _misfit(part: StatePart, backbone: Backbone, path: Path) -> str:
    where = f" ({part})" if str(part) else ""
    return (
        f"weights {path}{where} do not fit backbone {backbone.name}: {'; '.join(describe_misfit(backbone, part))}. "
        "Only the classifier's keys may be missing and none may be left over."
    )


def _check_finite(state: StateDict, path: Path) -> None:
    for name, value in state.items():
        if value.is_quantized:
            raise UserError(f"weights {path}: {name} is quantised; save the weights before they are quantised.")
        if not value.isfinite().all():
            raise UserError(f"weights {path}: values must be finite, {name} holds NaN or infinity.")


def _describe_content(content: object) -> str:
    """Describe an object that holds no state dict, and the way out."""
    if isinstance(content, Mapping):
        values = cast("Mapping[object, object]", content)
        if {"state", "param_groups"} <= values.keys():
            return f"holds the state of an optimizer, not weights of a model; {WAY_OUT}"
        if "optimizer" in values or "optimizer_states" in values:
            names = ", ".join(str(name) for name in values)
            return f"is a checkpoint with the state of an optimizer, but without weights (it holds {names}); {WAY_OUT}"
        for name, value in values.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                return f"must hold a state dict, name to tensor, got {name!r}: {_describe(value)}; {WAY_OUT}"
    return f"must hold a state dict, name to tensor, got {_describe(content)}; {WAY_OUT}"


def _count_keys(keys: list[str], fault: str) -> str:
    """Return how many keys have a fault, and the first of them; an empty string for no keys.

    >>> _count_keys(["conv1.weight", "bn1.bias"], "missing")
    '2 keys missing (first conv1.weight)'
    """
    return f"{counted(len(keys), 'key')} {fault} (first {keys[0]})" if keys else ""


def _current_key(key: str) -> str:
    """Return the current name of a state-dict key: densenet's published files use older names.

    >>> _current_key("features.denseblock1.denselayer2.norm.1.weight")
    'features.denseblock1.denselayer2.norm1.weight'
    """
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)


def _describe(value: object) -> str:
    """Return the name of a value's type, marked if the value is empty.

    >>> _describe([1]), _describe({})
    ('list', 'an empty dict')
    """
    return type(value).__name__ if isinstance(value, Tensor) or value else f"an empty {type(value).__name__}"
