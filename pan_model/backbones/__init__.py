"""The CNN under PAN: architectures, weights, feature extraction, precision. Start at `architectures.py`."""
