"""The commands, from flags to exit code. Start at `commands.py`; may import every other folder of `study`.

`run_study.py` and `train_final.py` are imported once the flags are valid, since they import torch.
"""
