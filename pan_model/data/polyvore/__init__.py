"""Polyvore Outfits: its files, outfits and questions. Start at `reader.py`.

May import the modules of `pan_model.data` and what these may import.
"""
