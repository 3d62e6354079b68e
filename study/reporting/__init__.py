"""Reports from the ledger: tables, summary, best_config.json, model card and status. Start at `collation.py`.

`collation.py` rebuilds all files that follow from the ledger; `tables.py`, `summary.py` and `best_config.py` write
them. `comparison.py` compares PAN with the baselines, `cautions.py` lists warnings about a result, `final_metrics.py`
computes and reads metrics.json. `report.py` prints the end of a study, `status.py` the state of a running one, and
`model_card.py` describes a trained model. May import `trials`, `config`, `storage` and `terminal`.
"""
