"""Images from disk to tensors: decoding, the decoded cache, augmentation, batches. Start at `decoding.py`."""
