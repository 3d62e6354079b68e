"""Examples: pairs of images that a model explains, for the report, TensorBoard and study/explain.py.

Start reading at `making.py` for the examples of a study's best trial, or at `drawing.py` for the picture of one pair.
"""
