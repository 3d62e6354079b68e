"""Feature extraction on all nodes of a cluster, with Ray Data. The driver collects the features and writes them."""

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
from pan_model.command_line import counted
from pan_model.errors import UserError
from pan_model.images.decoding import Content
from pan_model.shapes import Int
from study.nodes.file_server import file_server, read_file, this_node
from study.nodes.resources import Node

FEW_IMAGES = 2000
"""Number of images below which the driver extracts them: it takes less time than the start of a cloud machine."""

CPUS_PER_WORKER = 4
"""Cores of a worker without a GPU: few, so that small nodes are used; more than one, since each worker loads torch."""

BLOCKS_PER_WORKER = 8
"""Blocks of items for each worker. Small blocks keep all workers busy until the end."""

MAX_CONCURRENT_BLOCKS = 2
"""Number of blocks that a worker processes at a time: threads that finish the first continue with the second."""


@dataclass(frozen=True)
class Workers:
    """The number of workers, and the CPUs and GPUs of each."""

    count: int
    cpus: int
    gpus: int

    @property
    def batch_size(self) -> int:
        """The number of images in a batch, the same as without a cluster."""
        return GPU_BATCH_SIZE if self.gpus else CPU_BATCH_SIZE

    def split(self, num_images: int) -> list[range]:
        """Split items into blocks of whole batches.

        >>> [len(block) for block in Workers(1, 4, 0).split(400)]
        [64, 64, 64, 64, 64, 64, 16]
        """
        batches = math.ceil(num_images / (BLOCKS_PER_WORKER * self.count * self.batch_size))
        size = min(max(1, batches), 2 * self.cpus) * self.batch_size
        return [range(start, min(start + size, num_images)) for start in range(0, num_images, size)]


def allocate_workers(nodes: Sequence[Node]) -> Workers:
    """Divide a cluster into workers: one for each GPU, with its share of the CPUs, or several for each CPU node.

    >>> allocate_workers([Node(cpus=8, gpus=0), Node(cpus=8, gpus=1)]), allocate_workers([Node(cpus=8, gpus=0)] * 2)
    (Workers(count=1, cpus=8, gpus=1), Workers(count=4, cpus=4, gpus=0))
    """
    gpu_nodes = [node for node in nodes if node.gpus >= 1 and node.cpus >= 1]
    if gpu_nodes:
        cpus = min(int(node.cpus // int(node.gpus)) for node in gpu_nodes)
        return Workers(count=sum(int(node.gpus) for node in gpu_nodes), cpus=min(max(1, cpus), MAX_WORKERS), gpus=1)
    cores = [int(node.cpus) for node in nodes if node.cpus >= 1]
    cpus = min([CPUS_PER_WORKER, *cores])
    return Workers(count=sum(of_node // cpus for of_node in cores), cpus=cpus, gpus=0)


@dataclass(frozen=True, kw_only=True)
class ClusterExtractor:
    """Extract features on all nodes of a cluster, including those that its autoscaler may start.

    A node reads the images that it shares with the driver's node. The driver reads and sends the others.

    Attributes:
        nodes: The nodes of the cluster.
        say: Prints a line.
        few: Number of images below which the driver extracts them.

    Raises:
        UserError: If a worker fails.
    """

    nodes: Sequence[Node]
    say: Callable[[str], None]
    few: int = FEW_IMAGES

    def __call__(self, extraction: Extraction, /) -> Generator[Extracted]:
        """Yield the features of each block as soon as they are ready."""
        workers = allocate_workers(self.nodes)
        if len(extraction.items) < self.few or len(self.nodes) < 2 or workers.count == 0:
            yield from LocalExtractor()(extraction)
            return
        self._announce(len(extraction.items), workers)
        reported: set[str] = set()
        with ExitStack() as stack:
            server = stack.enter_context(file_server())
            try:
                for batch in _run(extraction, workers, server):
                    if (host := batch["sent_to"][0]) and host not in reported:
                        reported.add(host)
                        folder = extraction.items.image_root
                        self.say(f"{host} does not share {folder}: its images are read here and sent")
                    yield _extracted(batch)
            except RayError as error:
                raise UserError(
                    f"features cannot be extracted on the cluster ({_cause(error)}); check that every node has this "
                    "checkout and its environment, or leave --ray-address out while they are extracted."
                ) from error

    def _announce(self, num_images: int, workers: Workers) -> None:
        on = (
            counted(workers.count, "GPU")
            if workers.gpus
            else f"{counted(workers.count, 'worker')} of {counted(workers.cpus, 'CPU')}"
        )
        self.say(f"features of {counted(num_images, 'image')} are extracted on {on} of the cluster")
        if workers.gpus and not ray.cluster_resources().get("GPU"):
            self.say("no node with a GPU runs yet: extraction starts with the first one")


class NodeExtractor:
    """A worker on a node: load the backbone once, then extract the features of one block of items after another."""

    def __init__(self, job: Any, sizes: Any, server: Any, workers: Workers) -> None:
        """Load the backbone.

        Args:
            job: Reference in the object store to the extraction and the absolute folder of its images.
            sizes: Reference in the object store to the size of each image on the driver's node, in bytes.
            server: The actor that serves the driver's files.
            workers: The resources of this worker.
        """
        if workers.gpus and not torch.cuda.is_available():
            raise RuntimeError(f"Ray counts a GPU on {gethostname()}, but torch finds none")
        extraction, image_root = ray.get(job)
        self._extraction: Extraction = extraction
        self._server = server
        self._reader = NodeReader(extraction, image_root, ray.get(sizes), server)
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

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Extract the features of the items from start to stop; return a row for each item."""
        indices = range(int(block["start"][0]), int(block["stop"][0]))
        can_fail = not self._extraction.skip_bad_images
        if can_fail and ray.get(self._server.aborted.remote()):
            self._threads.job_failed.set()
        batches = list(self._threads.extract(indices))
        if can_fail and self._threads.job_failed.is_set():
            self._server.abort.remote()
        return _table(indices, batches, self._reader.sent_to)


class NodeReader:
    """Read the images of the driver's node: from this node if the file has the same size, else from the server."""

    def __init__(self, extraction: Extraction, image_root: Path, sizes: Int[np.ndarray, "N"], server: Any) -> None:
        self.sent_to = ""
        self._names = extraction.items.file_names
        self._image_root = image_root
        self._sizes = sizes
        self._server = server

    def __call__(self, indices: range) -> list[Content]:
        """Return the images of items. Those that this node lacks are fetched with one request."""
        contents: dict[int, Content] = {index: read_file(self._image_root / self._names[index]) for index in indices}
        missing = [index for index, content in contents.items() if not self._is_same(index, content)]
        if missing:
            paths = [str(self._image_root / self._names[index]) for index in missing]
            sent: list[Content] = ray.get(self._server.read_files.remote(paths))
            contents |= dict(zip(missing, sent, strict=True))
            if any(isinstance(content, bytes) for content in sent):
                self.sent_to = gethostname()
        return list(contents.values())

    def _is_same(self, index: int, content: Content) -> bool:
        return isinstance(content, bytes) and len(content) == int(self._sizes[index])


def _run(extraction: Extraction, workers: Workers, server: Any) -> Generator[dict[str, np.ndarray]]:
    """Start the workers, and yield the rows of each block."""
    items = extraction.items
    image_root = items.image_root.absolute()  # a worker has another working folder
    sizes = np.array([_size(image_root / name) for name in items.file_names])
    arguments = {
        "job": ray.put((extraction, image_root)),
        "sizes": ray.put(sizes),
        "server": server,
        "workers": workers,
    }
    actor: Any = ray.remote(Stream).options(num_cpus=0, scheduling_strategy=this_node())
    stream = actor.remote(workers.split(len(items)), arguments)
    try:
        while table := cast("dict[str, np.ndarray]", ray.get(stream.take.remote())):
            yield table
    finally:
        ray.kill(stream)


class Stream:
    """Run Ray Data in a separate process, so that its output does not reach the terminal."""

    def __init__(self, blocks: Sequence[range], arguments: dict[str, Any]) -> None:
        DataContext.get_current().enable_progress_bars = False
        workers: Workers = arguments["workers"]
        rows = ray.data.from_items(
            [{"start": block.start, "stop": block.stop} for block in blocks], override_num_blocks=len(blocks)
        ).map_batches(
            NodeExtractor,
            batch_size=None,
            batch_format="numpy",
            # All workers are requested at once, so that an autoscaler starts all nodes; workers on ready nodes begin.
            compute=ActorPoolStrategy(
                size=workers.count,
                max_tasks_in_flight_per_actor=MAX_CONCURRENT_BLOCKS,
                max_concurrent_calls_per_actor=MAX_CONCURRENT_BLOCKS,
                enable_true_multi_threading=True,
            ),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            fn_constructor_kwargs=arguments,
        )
        self._tables = iter(rows.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0))

    def take(self) -> dict[str, np.ndarray]:
        """Return the rows of the next block that is ready; empty at the end."""
        return cast("dict[str, np.ndarray]", next(self._tables, {}))


def _table(indices: range, batches: Sequence[Extracted], sent_to: str) -> dict[str, np.ndarray]:
    """Return rows for Ray Data as columns of arrays."""
    unreadable = {index: reason for batch in batches for index, reason in batch.unreadable.items()}
    return {
        "index": np.array(indices),
        "values": np.concatenate([batch.values for batch in batches]),
        "reason": np.array([unreadable.get(index, "") for index in indices], dtype=object),
        "sent_to": np.array([sent_to] * len(indices), dtype=object),
    }


def _extracted(table: dict[str, np.ndarray]) -> Extracted:
    """Return the features of rows."""
    first = int(table["index"][0])
    unreadable = {first + row: str(reason) for row, reason in enumerate(table["reason"]) if reason}
    return Extracted(range(first, first + len(table["index"])), table["values"], unreadable)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _cause(error: BaseException) -> str:
    """Return the error of a worker in one line."""
    inner = getattr(error, "cause", None) or error
    lines = [line for line in str(inner).splitlines() if line.strip()] or [""]
    return f"{type(inner).__name__}: {lines[-1].strip()}"
