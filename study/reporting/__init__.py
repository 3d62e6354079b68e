"""From the ledger to tables, summary, best_config.json and the model card. Start at `collation.py`."""
