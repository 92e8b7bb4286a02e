"""The one exception a user should ever see: one line, exit code 2."""

import click


class UserError(click.ClickException):
    """A user's mistake or a broken input.

    The message says what is wrong, where (``file:line``, field) and what to do, in one line;
    click prints it as ``Error: <message>`` and exits with code 2.
    """

    exit_code = 2
