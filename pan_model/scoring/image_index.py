"""An index of images: the images of a folder, embedded by a trained model, and the most similar ones to an image.

A query is scored against every image of the index, without approximation (`all_pairs.py`).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pan_model.backbones.architectures import Backbone
from pan_model.backbones.extraction import Extraction, extraction_threads
from pan_model.command_line import counted
from pan_model.data.folder.reader import list_images
from pan_model.data.items import Items
from pan_model.errors import UserError
from pan_model.images.decoding import Content, check_readable, load_image
from pan_model.model.pan import Pan
from pan_model.scoring.all_pairs import most_similar
from pan_model.scoring.explanation import Explanation, describe_limits, explain_embedded
from pan_model.scoring.index_files import IndexedImages
from pan_model.shapes import Float

NUM_HITS = 10


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An image that is similar to a query.

    Attributes:
        file: Its path in the indexed folder.
        explanation: Its score p, and the part of each condition in it.
        log_odds: log p / (1 - p), which differs also where p is 1 to rounding.
    """

    file: str
    explanation: Explanation
    log_odds: float

    @property
    def score(self) -> float:
        """The score p of the query and the image, in [0, 1]."""
        return self.explanation.score


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """The most similar images to a query.

    Attributes:
        image: The query.
        hits: The most similar images, best first.
        same: The images of the index that are the same file as the query, byte for byte. They are no hits.
        num_images: The number of images in the index.
    """

    image: Path
    hits: tuple[Hit, ...]
    same: tuple[str, ...]
    num_images: int


def embed_images(
    model: Pan,
    backbone: Backbone,
    folder: Path,
    *,
    skip_bad_images: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> IndexedImages:
    """Embed all images in a folder and its subfolders, on a GPU if there is one.

    Args:
        model: The trained model. Encoders that use a graph embed each image without edges.
        backbone: The backbone of the model.
        folder: The folder.
        skip_bad_images: Whether unreadable images are left out instead of raising an error.
        progress: Called with the numbers of images done and in total.

    Raises:
        UserError: The folder holds no images, one cannot be read, or its embedding is not finite.
    """
    tree = list_images(folder)
    num_images = len(tree.images)
    items = Items(
        image_root=folder,
        image_names=tuple(tree.images),
        files=tuple(tree.images.values()),
        classes=np.zeros(num_images, dtype=np.int64),
        class_names=("image",),
        attributes=np.zeros((num_images, 0), dtype=bool),
        certainty=np.zeros((num_images, 0), dtype=np.uint8),
        attribute_names=(),
    )
    sha256 = [""] * num_images

    def read(indices: range) -> list[Content]:
        contents: list[Content] = [_read(items.image_path(index)) for index in indices]
        for index, content in zip(indices, contents, strict=True):
            sha256[index] = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""
        return contents

    extraction = Extraction(
        backbone=backbone,
        items=items,
        preprocessing=backbone.preprocess,
        feature_dim=model.feature_dim,
        skip_bad_images=skip_bad_images,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.eval().to(device)
    embeddings = torch.zeros(num_images, model.encoder.embedding_dim)
    unreadable: dict[int, str] = {}
    done = 0
    with torch.inference_mode(), extraction_threads(extraction, device, read=read) as threads:
        for indices, features, reasons in threads.extract(range(num_images)):
            embeddings[indices.start : indices.stop] = model.embed(torch.from_numpy(features).to(device)).cpu()
            unreadable |= reasons
            done += len(indices)
            if progress is not None:
                progress(done, num_images)
    reasons = {items.file_names[index]: reason for index, reason in unreadable.items()}
    check_readable(items, reasons, skip_bad_images=skip_bad_images)
    kept = [index for index in range(num_images) if index not in unreadable]
    finite = embeddings.isfinite().all(dim=1)
    for index in (index for index in kept if not finite[index]):
        raise UserError(_not_finite(items.image_path(index)))
    return IndexedImages(
        root=folder,
        files=tuple(items.file_names[index] for index in kept),
        sha256=tuple(sha256[index] for index in kept),
        embeddings=embeddings[kept] if unreadable else embeddings,
        left_out=tree.left_out,
        unreadable=reasons,
    )


class ImageIndex:
    """Finds the most similar images to an image, on a GPU if there is one.

    Args:
        model: The trained model that embedded the images.
        backbone: Its backbone.
        images: The embedded images.
    """

    def __init__(self, model: Pan, backbone: Backbone, images: IndexedImages) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().to(device)
        self.images = images
        self._backbone = backbone.eval().to(device)
        if device.type == "cpu":
            self._backbone.to(memory_format=torch.channels_last)  # convolutions take half the time
        self._embeddings = images.embeddings.to(device)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def notes(self) -> list[str]:
        """What a reader of scores and explanations should know, one sentence each."""
        return describe_limits(self.model)

    @torch.inference_mode()
    def query(self, image: Path | str, *, top: int | None = None) -> QueryResult:
        """Find the most similar images; those that are the same file as the query are no hits.

        Args:
            image: The file of the query.
            top: The number of hits; by default 10, or as many as there are.

        Raises:
            UserError: The image cannot be read, or `top` is less than 1 or more than there are images.
        """
        path = Path(image)
        content = _read(path)
        pixels = load_image(path, self._backbone.preprocess, content)
        digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""
        same = {position for position, sha256 in enumerate(self.images.sha256) if sha256 == digest}
        available = len(self) - len(same)
        if available == 0:
            raise UserError(f"{path}: the index holds no other image.")
        if not 1 <= (wanted := min(NUM_HITS, available) if top is None else top) <= available:
            without = f" ({counted(len(same), 'copy', 'copies')} of the query left out)" if same else ""
            raise UserError(f"top must be from 1 to {available}, the images of the index{without}, got {wanted}.")
        embedding = self._embed(pixels, path)
        ranked = most_similar(self.model, embedding, self._embeddings, k=wanted + len(same)).items[0]
        best = [position for position in ranked.tolist() if position not in same][:wanted]
        pairs = embedding.expand(wanted, -1), self._embeddings[best]
        log_odds = self.model.similarity(*pairs).log_odds.tolist()
        hits = (
            Hit(file=self.images.files[position], explanation=explanation, log_odds=odds)
            for position, explanation, odds in zip(best, explain_embedded(self.model, *pairs), log_odds, strict=True)
        )
        return QueryResult(
            image=path,
            hits=tuple(hits),
            same=tuple(self.images.files[position] for position in sorted(same)),
            num_images=len(self),
        )

    def _embed(self, pixels: Float[Tensor, "3 H W"], path: Path) -> Float[Tensor, "1 E"]:
        embedding = self.model.embed(self._backbone(pixels[None].to(self._backbone.device)))
        if not embedding.isfinite().all():
            raise UserError(_not_finite(path))
        return embedding


def _read(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def _not_finite(path: Path) -> str:
    return f"{path}: the model's embedding of the image must be finite, but is not; use another model."
