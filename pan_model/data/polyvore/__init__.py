"""Polyvore Outfits: its files, outfits and questions. Start at `reader.py`."""
