"""Studies in notebooks and scripts: `from study.api import Study; study = Study.load("results/NAME")`.

`study.py` has `Study`, `best_config.py` has what `Study.best` returns, and `keyword_flags.py` turns keyword arguments
into the flags of the commands. Wrong input raises `pan_model.errors.UserError` with the line that the command prints.
"""

from study.api.best_config import BestConfig, Confirmation
from study.api.study import Study

__all__ = ["BestConfig", "Confirmation", "Study"]
