"""Checks of node setup: the commands that `ray up` runs on every node, the files that it uploads, and the ssh login.

Start at `commands.check_commands`. `exports` checks the environment variables that commands export, `ray_start` the
commands that start Ray, `files` the uploaded files and the login.
"""

from cluster.check.node_setup.commands import check_commands
from cluster.check.node_setup.files import check_files

__all__ = ["check_commands", "check_files"]
