"""PAN and the baselines as scorers of a query against sets of items. Start at `pan_scorer.py`.

May import tasks and the folders below them. The interface is `pan_model.tasks.task.SetScorer`.
"""
