"""From the ledger to tables, summary, best_config.json, model card and status. Start at `collation.py`.

collation.py writes all files of a study that follow from its ledger; tables.py, summary.py and best_config.py write
them. comparison.py compares PAN with the baselines, cautions.py lists what speaks against a result, and
final_metrics.py reads and fills metrics.json. Imports study.trials, study.config, study.storage and study.terminal.
"""
