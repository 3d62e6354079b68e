"""Polyvore Outfits: its files, its outfits and the questions asked about them. Start at `reader.py`."""
