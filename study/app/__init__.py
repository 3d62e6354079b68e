"""The commands, from flags to exit code. Start at `commands.py`; may import every other folder of `study`.

`flags.py` parses the command line, `dry_run.py` prints the plan of a study, `run_study.py` runs one, and
`train_final.py` trains its best configuration again: `final` are the seeds and baselines, which `processes` runs side
by side. All these are imported only after the flags are checked, since they import torch.
"""
