"""Hyperparameter studies of PAN: plan, prepare, tune, collate, export, final training."""
