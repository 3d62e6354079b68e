"""Tasks: the training pairs and the metrics of a dataset. Start at `task.py`, the interface that the trainer uses.

May import data, images, backbones and model. A new task is one file, named by a row of `pan_model.datasets`.
"""
