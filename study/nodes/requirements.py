"""A node that joins after the preflight: the first trial there sees whether it may run, before it writes anything."""

import hashlib
import time
from dataclasses import dataclass

from pan_model.errors import UserError
from study.nodes.node_probe import ABSENT, code_digest, why_no_gpu
from study.storage.files import read_if_there
from study.storage.paths import StudyPaths

BREACH = "breach"
"""In a result: why the node may not run trials."""

SEEN_WITHIN_S = 30.0
"""How long a shared folder may take to be mounted on a node that has just started."""


@dataclass(frozen=True, kw_only=True)
class NodeRequirements:
    """On what a trial may run on a node: the driver's code, the study's own folder, a GPU that works if it has one.

    Digests are SHA-256 (hex), of the code (study.nodes.node_probe) and of study.json.
    """

    results: StudyPaths
    study: str
    code: str
    gpu: bool


def node_requirements(results: StudyPaths, *, gpu: bool) -> NodeRequirements:
    """The terms of a study whose study.json is written, as this machine has them."""
    return NodeRequirements(results=results, study=_digest(results), code=code_digest(), gpu=gpu)


def check_requirements(terms: NodeRequirements, seen_within_s: float = SEEN_WITHIN_S) -> str:
    """Why this node may not run trials, with the way out; empty when it may."""
    if code_digest() != terms.code:
        return "runs other code than the study; bring it to the same state (`ray up` again, or `make setup`)"
    end_s = time.monotonic() + seen_within_s
    while (seen := _digest(terms.results)) != terms.study and time.monotonic() < end_s:
        time.sleep(0.5)
    if seen != terms.study:
        why = "it is not there" if seen == ABSENT else "another one is there"
        return f"does not share {terms.results.study}, {why}; give --output on a file system that all nodes share"
    if terms.gpu and (why := why_no_gpu()):
        return f"has a GPU that cannot be used: {why}; mend it, or give --gpus-per-trial 0"
    return ""


def _digest(results: StudyPaths) -> str:
    try:
        content = read_if_there(results.study, "look at its rights")
    except UserError:  # a store that does not answer is an OSError, for which the trial starts again
        return ABSENT
    return ABSENT if content is None else hashlib.sha256(content).hexdigest()
