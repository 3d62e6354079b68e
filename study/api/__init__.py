"""Studies in notebooks and scripts: `from study.api import Study; study = Study.load("results/NAME")`.

`study.py` has `Study`, and `keyword_flags.py` turns its keyword arguments into the flags of the commands. Wrong input
raises `pan_model.errors.UserError` with the line that the command prints.
"""

from study.api.study import BestConfig, Study

__all__ = ["BestConfig", "Study"]
