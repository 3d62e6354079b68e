"""Features extracted by all nodes of a cluster, with Ray Data; the driver puts them together and writes them once."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any, cast

import numpy as np
import ray
import torch
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

from pan_model.backbones.extraction import (
    CPU_BATCH_SIZE,
    GPU_BATCH_SIZE,
    MAX_WORKERS,
    Extracted,
    Extraction,
    LocalExtractor,
    extraction_threads,
)
from pan_model.errors import UserError
from pan_model.images.decoding import Content
from pan_model.shapes import Int
from pan_model.training.trainer import use_deterministic_arithmetic
from study.nodes.file_server import file_server, read_file, this_node
from study.nodes.resources import Node

FEW_IMAGES = 2000
"""Fewer are extracted where the command runs: four cores have done them in a minute or two, before a machine in the
cloud has started."""

CPUS_EACH = 4
"""Cores of a worker without a GPU: few, so that small nodes take part, and not one, as each has its own torch."""

PIECES_EACH = 8
"""Pieces for each worker: when the last ones are at work, most have had their share."""

AT_ONCE = 2
"""Pieces that a worker has at hand: its threads go on with the second when some have nothing left of the first."""


@dataclass(frozen=True)
class Workers:
    """How many workers extract, and what each holds."""

    count: int
    cpus: int
    gpus: int

    @property
    def batch_size(self) -> int:
        """Images that go through the network at a time, as in a process that extracts alone."""
        return GPU_BATCH_SIZE if self.gpus else CPU_BATCH_SIZE

    def cut(self, num_images: int) -> list[range]:
        """Cut items into pieces of whole batches.

        >>> [len(piece) for piece in Workers(1, 4, 0).cut(400)]
        [64, 64, 64, 64, 64, 64, 16]
        """
        share = math.ceil(num_images / (PIECES_EACH * self.count * self.batch_size))
        size = min(max(1, share), 2 * self.cpus) * self.batch_size
        return [range(start, min(start + size, num_images)) for start in range(0, num_images, size)]


def share_nodes(nodes: Sequence[Node]) -> Workers:
    """Cut a cluster into workers: one on each GPU, where there are any, with its share of the CPUs that decode.

    >>> share_nodes([Node(cpus=8, gpus=0), Node(cpus=8, gpus=1)]), share_nodes([Node(cpus=8, gpus=0)] * 2)
    (Workers(count=1, cpus=8, gpus=1), Workers(count=4, cpus=4, gpus=0))
    """
    on_gpus = [node for node in nodes if node.gpus >= 1 and node.cpus >= 1]
    if on_gpus:
        cpus = min(int(node.cpus // int(node.gpus)) for node in on_gpus)
        return Workers(count=sum(int(node.gpus) for node in on_gpus), cpus=min(max(1, cpus), MAX_WORKERS), gpus=1)
    cores = [int(node.cpus) for node in nodes if node.cpus >= 1]
    cpus = min([CPUS_EACH, *cores])
    return Workers(count=sum(of_node // cpus for of_node in cores), cpus=cpus, gpus=0)


@dataclass(frozen=True, kw_only=True)
class ClusterExtractor:
    """Extracts on all nodes of a cluster that was joined, those included that its autoscaler may start.

    A node reads the images where it sees the same files as this one; others are read here and sent to it, which `say`
    is told once a node. Fewer than `few` images are extracted here. Raises UserError when a worker fails.
    """

    nodes: Sequence[Node]
    say: Callable[[str], None]
    few: int = FEW_IMAGES

    def __call__(self, extraction: Extraction, /) -> Generator[Extracted]:
        """Yield the pieces as they are ready."""
        workers = share_nodes(self.nodes)
        if len(extraction.items) < self.few or len(self.nodes) < 2 or workers.count == 0:
            yield from LocalExtractor()(extraction)
            return
        self._announce(len(extraction.items), workers)
        told: set[str] = set()
        with ExitStack() as stack:
            desk = stack.enter_context(file_server())
            try:
                for batch in _run(extraction, workers, desk):
                    if (host := batch["sent_to"][0]) and host not in told:
                        told.add(host)
                        folder = extraction.items.image_root
                        self.say(f"{host} does not see {folder} as it is here: its images are read here and sent")
                    yield _extracted(batch)
            except RayError as error:
                raise UserError(
                    f"features cannot be extracted on the cluster ({_cause(error)}); see that every node has this "
                    "checkout and its environment, or leave --ray-address out while they are extracted."
                ) from error

    def _announce(self, num_images: int, workers: Workers) -> None:
        device = "GPUs" if workers.gpus else f"workers of {workers.cpus} CPUs"
        self.say(f"features of {num_images} images are extracted on {workers.count} {device} of the cluster")
        if workers.gpus and not ray.cluster_resources().get("GPU"):
            self.say("no node with a GPU runs yet: they wait for the first one to start")


class NodeExtractor:
    """A worker on some node: has the backbone ready, and takes one piece of the items after another."""

    def __init__(self, job: "ray.ObjectRef[Any]", sizes: "ray.ObjectRef[Any]", desk: Any, workers: Workers) -> None:
        use_deterministic_arithmetic()
        if workers.gpus and not torch.cuda.is_available():
            raise RuntimeError(f"Ray has a GPU on {gethostname()}, but torch finds none there")
        extraction, image_root = ray.get(job)
        self._extraction: Extraction = extraction
        self._desk = desk
        self._reader = NodeReader(extraction, image_root, ray.get(sizes), desk)
        self._stack = ExitStack()
        self._threads = self._stack.enter_context(
            extraction_threads(
                extraction,
                torch.device("cuda" if workers.gpus else "cpu"),
                num_workers=workers.cpus,
                batch_size=workers.batch_size,
                read=self._reader,
            )
        )

    def __call__(self, piece: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Extract the items start to stop; a row for each of them."""
        indices = range(int(piece["start"][0]), int(piece["stop"][0]))
        heed = not self._extraction.skip_bad_images
        if heed and ray.get(self._desk.aborted.remote()):
            self._threads.hopeless.set()
        batches = list(self._threads.extract(indices))
        if heed and self._threads.hopeless.is_set():
            self._desk.abort.remote()
        return _table(indices, batches, self._reader.sent_to)


class NodeReader:
    """Gives images as the driver's node has them: read here where they have the same size, else sent from there."""

    def __init__(self, extraction: Extraction, image_root: Path, sizes: Int[np.ndarray, "N"], desk: Any) -> None:
        self.sent_to = ""
        self._names = extraction.items.image_names
        self._image_root = image_root
        self._sizes = sizes
        self._desk = desk

    def __call__(self, indices: range) -> list[Content]:
        """The images of some items, by index; those that are not here are asked for in one go."""
        contents: dict[int, Content] = {index: read_file(self._image_root / self._names[index]) for index in indices}
        other = [index for index, content in contents.items() if not self._is_same(index, content)]
        if other:
            paths = [str(self._image_root / self._names[index]) for index in other]
            sent: list[Content] = ray.get(self._desk.read_files.remote(paths))
            contents |= dict(zip(other, sent, strict=True))
            if any(isinstance(content, bytes) for content in sent):
                self.sent_to = gethostname()
        return list(contents.values())

    def _is_same(self, index: int, content: Content) -> bool:
        return isinstance(content, bytes) and len(content) == self._sizes[index]


def _run(extraction: Extraction, workers: Workers, desk: Any) -> Generator[dict[str, np.ndarray]]:
    """Start the workers, and yield their rows piece by piece."""
    items = extraction.items
    image_root = items.image_root.absolute()  # a worker runs in another folder
    sizes = np.array([_size(image_root / name) for name in items.image_names])
    given = {"job": ray.put((extraction, image_root)), "sizes": ray.put(sizes), "desk": desk, "workers": workers}
    actor: Any = ray.remote(Stream).options(num_cpus=0, scheduling_strategy=this_node())
    stream = actor.remote(workers.cut(len(items)), given)
    try:
        while table := cast("dict[str, np.ndarray]", ray.get(stream.take.remote())):
            yield table
    finally:
        ray.kill(stream)


class Stream:
    """Has Ray Data hand out the pieces; in a process of its own, since what Ray Data prints is for nobody's screen."""

    def __init__(self, pieces: Sequence[range], given: dict[str, Any]) -> None:
        DataContext.get_current().enable_progress_bars = False
        workers: Workers = given["workers"]
        rows = ray.data.from_items(
            [{"start": piece.start, "stop": piece.stop} for piece in pieces], override_num_blocks=len(pieces)
        ).map_batches(
            NodeExtractor,
            batch_size=None,
            batch_format="numpy",
            # All are asked for at once, so that an autoscaler starts all nodes at once; those that are there begin.
            compute=ActorPoolStrategy(
                size=workers.count,
                max_tasks_in_flight_per_actor=AT_ONCE,
                max_concurrent_calls_per_actor=AT_ONCE,
                enable_true_multi_threading=True,
            ),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            fn_constructor_kwargs=given,
        )
        self._tables = iter(rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))

    def take(self) -> dict[str, np.ndarray]:
        """The rows of the next piece that is ready; none at the end."""
        return cast("dict[str, np.ndarray]", next(self._tables, {}))


def _table(indices: range, batches: Sequence[Extracted], sent_to: str) -> dict[str, np.ndarray]:
    """Rows for Ray Data, which knows columns of arrays alone."""
    unreadable = {index: reason for batch in batches for index, reason in batch.unreadable.items()}
    return {
        "index": np.array(indices),
        "values": np.concatenate([batch.values for batch in batches]),
        "reason": np.array([unreadable.get(index, "") for index in indices], dtype=object),
        "sent_to": np.array([sent_to] * len(indices), dtype=object),
    }


def _extracted(table: dict[str, np.ndarray]) -> Extracted:
    """The same as an extraction's rows."""
    first = int(table["index"][0])
    unreadable = {first + place: str(reason) for place, reason in enumerate(table["reason"]) if reason}
    return Extracted(range(first, first + len(table["index"])), table["values"], unreadable)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _cause(error: BaseException) -> str:
    """What went wrong in a worker, in one line."""
    inner = getattr(error, "cause", None) or error
    lines = [line for line in str(inner).splitlines() if line.strip()] or [""]
    return f"{type(inner).__name__}: {lines[-1].strip()}"
