"""The one exception for a user's mistake: one line, which click prints without a traceback."""

from click import ClickException


class PluginError(ClickException):
    """A mistake in the recipe or its data: says what, where (option, or file and row) and what to do."""

    exit_code = 2
