"""Keep the import path that model cards of earlier releases use. New code imports `pan_model.scoring.pan_scorer`."""

from pan_model.scoring.pan_scorer import embedding_scorer

__all__ = ["embedding_scorer"]
