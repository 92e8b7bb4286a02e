"""The one exception a user should ever see: one line, exit code 2."""

import click


class UserError(click.ClickException):
    """A user's mistake or a broken input.

    The message says what is wrong, where (``file:line``, field) and what to do, in one line;
    click prints it as ``Error: <message>`` and exits with code 2.
    """

    exit_code = 2


class AdapterError(UserError):
    """An adapter cannot be used; the model it belongs on can."""


def one_line(value: object, limit: int = 300) -> str:
    """A value, or what an exception says, as one line of at most ``limit`` characters that cannot drive a terminal.

    White space is collapsed, control characters are escaped; an exception without text is named by its type.
    """
    text = " ".join(str(value).split()) or (type(value).__name__ if isinstance(value, BaseException) else "")
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."
