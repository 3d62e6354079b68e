"""The commands: one file each, from flags to exit code. Start at `commands.py`."""
