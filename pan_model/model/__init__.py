"""PAN itself: conditions, similarity, gates, normalisation, encoders. Start at `pan.py`."""
