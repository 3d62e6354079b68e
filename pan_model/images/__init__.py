"""Images from disk to tensors: decoding, the decoded cache, augmentation, batches. Start at `decoding.py`."""

from pan_model.images.decoding import load_image

__all__ = ["load_image"]
