"""Images from disk to tensors: decoding, the decoded cache, augmentation, batches. Start at `decoding.py`.

`load_image` is imported on first use, so that `augmentation.py` and `preprocessing.py` can be imported without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pan_model.images.decoding import load_image

__all__ = ["load_image"]


def __getattr__(name: str) -> Any:
    if name == "load_image":
        from pan_model.images.decoding import load_image

        return load_image
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
