"""A probe on one GPU of the cluster: how much of its memory trials take."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pan_model.config import TrialConfig
from pan_model.errors import UserError
from study.nodes.file_server import file_server
from study.nodes.gpu_memory import MemoryUse, measure_on_cuda
from study.nodes.image_transfer import start_on_this_node
from study.trials.preparation import PreparedDataset


def probe_gpu(prepared: PreparedDataset, configs: Sequence[TrialConfig]) -> MemoryUse | None:
    """Run the trials on a whole GPU, waiting for a node that has one; None where torch finds none on it.

    Raises UserError when the node dies, or cannot hold what the trials read.
    """
    with nullcontext() if prepared.start is None else file_server() as desk:
        try:
            return ray.get(ray.remote(num_gpus=1, max_retries=2)(_measure).remote(prepared, configs, desk))
        except RayTaskError as error:  # what was raised there; its text is a traceback
            if isinstance(error.cause, UserError):
                raise error.cause from error
            raise
        except RayError as error:
            raise UserError(
                f"a GPU's node ended while the need of a trial was measured on it ({type(error).__name__}); "
                "give the same command again, or --gpus-per-trial."
            ) from error


def _measure(prepared: PreparedDataset, configs: Sequence[TrialConfig], desk: Any) -> MemoryUse | None:
    if prepared.start is not None:
        prepared = replace(prepared, start=start_on_this_node(prepared.start, desk))
    return measure_on_cuda(prepared, configs)
