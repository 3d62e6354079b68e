"""What a study is: its configuration, search space, signature and resume rules. Start at `study_config.py`."""
