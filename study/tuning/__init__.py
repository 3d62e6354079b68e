"""The search: Optuna suggests trials, an executor runs them, ASHA stops weak ones, and the ledger records their ends.

Start reading at `search.py`, then `executor.py`, and one of `serial_executor.py` and `ray_executor.py`. May import
`study.nodes`, `study.trials` and what lies below them. Only this folder imports `ray.tune`, and `search.py`,
`budget.py` and `progress.py` do not: a finished study then need not wait for Ray's import.
"""
