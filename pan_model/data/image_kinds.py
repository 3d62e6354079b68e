"""Kinds of image files that need more than a conversion of their colours: turned, transparent, deep, several frames."""

from enum import StrEnum
from io import BytesIO

from PIL import ExifTags, Image

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transpositions that show an image upright, by its EXIF orientation. Orientation 1 needs none."""

_PNG_ORIENTATION = (b"eXIf", b"Raw profile type exif", b"Orientation")
"""Parts of PNG files that may hold an orientation. They may follow the pixels, and PIL decodes all to find them."""


class ImageKind(StrEnum):
    """What is special about an image file.

    Attributes:
        TURNED: The EXIF orientation says that the pixels are not upright.
        TRANSPARENT: Some pixels are not opaque.
        DEEP: Grey values of more than 8 bits, or floating point.
        FRAMES: The file has several frames or pages.
    """

    TURNED = "turned"
    TRANSPARENT = "transparent"
    DEEP = "deep"
    FRAMES = "frames"


def find_kinds(content: bytes) -> tuple[ImageKind, ...]:
    """Return what is special about an image file; nothing if it is not a readable image.

    Pixels are decoded only if the file has a transparency, or is a PNG file that may have an orientation.

    Args:
        content: The bytes of the file.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            is_special = {
                ImageKind.DEEP: is_deep(image),
                ImageKind.FRAMES: has_frames(image),
                ImageKind.TURNED: _may_be_turned(image, content) and orientation(image) != 1,
                ImageKind.TRANSPARENT: not is_deep(image) and image.has_transparency_data and not _is_opaque(image),
            }
    except Exception:  # PIL's decoders raise errors of many types on damaged files, which decoding reports
        return ()
    return tuple(kind for kind in ImageKind if is_special[kind])


def is_deep(image: Image.Image) -> bool:
    """Return whether the grey values of an image have more than 8 bits, or are floating point."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def has_frames(image: Image.Image) -> bool:
    """Return whether a file has several frames or pages. MPO files of cameras hold one image and its previews."""
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 2 to 8; 1 if it is upright, or its EXIF data is missing or damaged."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # of many types, as for pixels
        return 1
    return value if value in TURNS else 1


def _may_be_turned(image: Image.Image, content: bytes) -> bool:
    """Return whether to look for an orientation. PIL itself turns TIFF files when it decodes them."""
    if image.format == "PNG":
        return any(part in content for part in _PNG_ORIENTATION)
    return image.format != "TIFF"


def _is_opaque(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema()[0] == 255
