"""Weights files: recognise a file by its content, and read its tensors without running code from it.

The suffix does not matter: .pth files may hold safetensors, and the other way round.
"""

import argparse
import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from pan_model.errors import UserError

WAY_OUT = "save one with torch.save(model.state_dict(), FILE) or as .safetensors"
UNPACK = "unpack it and give the file of weights in it"

LOAD_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    EOFError,
    AttributeError,
    TypeError,
    pickle.UnpicklingError,
    SafetensorError,
)
"""Errors that torch.load and safetensors raise for files that are truncated, corrupt, or hold more than tensors."""

NUMPY_VALUES: list[Any] = [
    np.float64(0).__reduce__()[0],  # builds a scalar
    np.zeros(1).__reduce__()[0],  # builds an array
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefd"),
]
SAFE_GLOBALS: list[Any] = [argparse.Namespace, *NUMPY_VALUES]
"""Types besides torch's that checkpoints hold next to their tensors, and that run no code when they are unpickled."""

ARCHIVES = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
}
OTHER_FORMATS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras and TensorFlow write",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
}
NETWORK_MODULES = ("torch.nn.", "torchvision.models", "timm.")


def read_weights_file(path: Path, content: bytes) -> object:
    """Return the object that a file of safetensors or of torch.save holds.

    Args:
        path: The file, for messages.
        content: The bytes of the file.

    Raises:
        UserError: The file is of another kind, truncated, or holds objects other than tensors. The message names what
            the file is.
    """
    if kind := _other_kind(path, content):
        raise UserError(f"weights {path}: {kind}.")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(SAFE_GLOBALS):
            warnings.simplefilter("ignore")  # torch warns about archives that it then rejects
            if _is_safetensors(content):
                return safetensors.torch.load(content)
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        raise UserError(f"weights {path}: {_describe_failure(content, error)}; {WAY_OUT}.") from error


def _other_kind(path: Path, content: bytes) -> str:
    """Return what a file is that cannot hold a state dict, and the way out; an empty string for other files."""
    return next(_other_kinds(path, content, content[:512].lstrip()), "")


def _other_kinds(path: Path, content: bytes, start: bytes) -> Iterator[str]:
    if not content:
        yield "is empty (0 bytes); download or save it again"
    if content.startswith(b"version https://git-lfs"):
        yield "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"
    if re.match(rb"(<!doctype|<html|<\?xml|<head|<!--)", start, re.IGNORECASE):
        yield "is an HTML or XML page, as a failed download leaves; download the file again"
    if content[257:262] == b"ustar":
        yield f"is a tar archive; {UNPACK}"
    yield from (f"is {kind}; {UNPACK}" for magic, kind in ARCHIVES.items() if content.startswith(magic))
    others = (kind for magic, kind in OTHER_FORMATS.items() if content.startswith(magic))
    yield from (f"is {kind}, not PyTorch weights; {WAY_OUT}" for kind in others)
    if content[4:8] == b"TFL3":
        yield f"is a TensorFlow Lite model, not PyTorch weights; {WAY_OUT}"
    if path.suffix == ".onnx" or _is_onnx(content):
        yield f"is an ONNX model, not PyTorch weights; {WAY_OUT}"
    by_torch = content.startswith((b"PK\x03\x04", b"\x80"))  # paths in it may contain such words
    words = rb"saved_model|tensorflow|_CHECKPOINTABLE_"
    if path.suffix in {".pb", ".ckpt", ".index"} and not by_torch and re.search(words, content):
        yield f"is a TensorFlow model, not PyTorch weights; {WAY_OUT}"
    yield _other_zip(content) if content.startswith(b"PK\x03\x04") else _other_text(start)


def _is_onnx(content: bytes) -> bool:
    """Return whether the content starts as an ONNX model does: an IR version, then the name of its producer."""
    return bool(
        re.match(rb"\x08[\x01-\x20]\x12.(?:pytorch|tf2onnx|onnx|keras2onnx|skl2onnx|\w+[ -])", content, re.DOTALL)
    )


def _other_zip(content: bytes) -> str:
    """Return what a zip archive is that torch.save has not written; an empty string if it has, or if it is damaged."""
    try:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        return ""
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return f"is a TorchScript model; {WAY_OUT}"
    if any(name.endswith("data.pkl") for name in names):
        return ""
    if any(name.endswith(".weights.h5") for name in names):
        return f"is a Keras model, not PyTorch weights; {WAY_OUT}"
    if names and all(name.endswith(".npy") for name in names):
        return f"is a NumPy archive, not PyTorch weights; {WAY_OUT}"
    return f"is a zip archive that torch.save has not written; {UNPACK}"


def _other_text(start: bytes) -> str:
    """Return what a text is; an empty string for bytes that are no text."""
    sample = start[:64]
    if len(sample) >= 16 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in sample):
        return f"is a text file, not weights; {WAY_OUT}"
    return ""


def _is_safetensors(content: bytes) -> bool:
    """Return whether the content starts with the length of a JSON header, and the header."""
    return len(content) > 8 and content[8:9] == b"{" and int.from_bytes(content[:8], "little") < 100_000_000


def _describe_failure(content: bytes, error: Exception) -> str:
    """Describe why torch.load or safetensors cannot read a file."""
    names = _unsafe_names(content, error) if isinstance(error, pickle.UnpicklingError) else []
    networks = [name for name in names if name.startswith(NETWORK_MODULES)]
    if networks:
        return f"is a whole pickled model ({networks[0]}), and loading it would run its code"
    if names:
        return f"holds objects other than tensors ({names[0]}), and loading them would run their code"
    return f"truncated, or not a file of tensors only ({type(error).__name__})"


def _unsafe_names(content: bytes, error: Exception) -> list[str]:
    """Return the names of types in the pickle that may not be loaded, networks first. Nothing is unpickled."""
    find: Callable[[io.BytesIO], list[str]] = torch.serialization.get_unsafe_globals_in_checkpoint
    try:
        with torch.serialization.safe_globals(SAFE_GLOBALS):
            names = find(io.BytesIO(content))
    except LOAD_ERRORS:  # a format before torch 1.6, of which the error names the first type
        names = re.findall(r"GLOBAL ([\w.]+)", str(error))[:1]
    return sorted(names, key=lambda name: not name.startswith(NETWORK_MODULES))
