"""PAN itself: conditions, similarity, gates, normalisation, encoders. Start at `pan.py`.

May import data, images, backbones and the modules at the top of the package.
"""
