"""The one error that is the user's to mend."""


class UserError(ValueError):
    """Input that cannot be used: one line that names the thing, the rule, what was got and the way out.

    Commands print the line on stderr and exit with 2; library users catch it as a ValueError.
    """
