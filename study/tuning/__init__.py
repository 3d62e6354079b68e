"""The search: Optuna suggests trials, an executor runs them, ASHA stops weak ones, and the ledger records the results.

`confirmation.py` runs the best again from other seeds.

Start at `search.py`, then `executor.py`, and one of `serial_executor.py` and `ray_executor.py`. May import `nodes`,
`trials`, `config`, `storage` and `terminal`. No other folder imports `ray.tune`. `search.py`, `budget.py` and
`progress.py` do not import it either, so a finished study does not import Ray.
"""
