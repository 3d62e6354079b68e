"""Small copies of images, as JPEG in base64."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from pan_model.images.colours import to_rgb

DRAWN_SIZE = 320
"""The longer side of the copies that are kept in memory, px."""


class Thumbnails:
    """Small copies of the images of items, each read once.

    Attributes:
        unreadable: The items whose image cannot be read.
    """

    def __init__(self, root: Path, files: tuple[str, ...]) -> None:
        self._root, self._files = root, files
        self._images: dict[int, Image.Image] = {}
        self.unreadable: set[int] = set()

    def has(self, *items: int) -> bool:
        """Return whether the images of all items can be read; those that cannot are noted in `unreadable`."""
        for item in items:
            if item not in self._images and item not in self.unreadable:
                self._read(item)
        return self.unreadable.isdisjoint(items)

    def image(self, item: int) -> Image.Image:
        """Return the copy of an image that can be read."""
        assert self.has(item)
        return self._images[item]

    def file(self, item: int) -> str:
        """Return the file of an item, relative to the folder of the images."""
        return self._files[item]

    def jpeg(self, item: int, *, size: int, quality: int) -> str:
        """Return the copy of an image whose longer side is at most `size` px."""
        content, image = BytesIO(), self.image(item).copy()
        image.thumbnail((size, size))
        image.save(content, format="JPEG", quality=quality, optimize=True)
        return base64.b64encode(content.getvalue()).decode("ascii")

    def _read(self, item: int) -> None:
        try:
            with Image.open(self._root / self._files[item]) as image:
                small = to_rgb(image)
        except Exception:  # PIL's decoders raise errors of many types on damaged files
            self.unreadable.add(item)
            return
        small.thumbnail((DRAWN_SIZE, DRAWN_SIZE))
        self._images[item] = small
