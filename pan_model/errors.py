"""The error for wrong input."""


class UserError(ValueError):
    """Wrong input from the user.

    The message is one line. It names the file, field or flag, the rule, the value, and a way to fix it. Commands print
    it on stderr and exit with code 2. Library users can catch it as a ValueError.
    """
