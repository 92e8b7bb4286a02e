"""How to read the input's rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from mindgap_data.commands.options.group import F, option_group
from mindgap_data.rows.shapes import FORMATS, Fields

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--format",
        "row_format",
        type=click.Choice(FORMATS),
        help="Row format. [default: recognised row by row]",
    ),
    click.option("--messages-field", help="Column with the list of turns."),
    click.option("--prompt-field", help="Column with the problem."),
    click.option("--response-field", help="Column with the expert demonstration."),
    click.option(
        "--answer-field",
        help="Column with the reference answer. [default: answer, else \\boxed{} or #### in the demonstration]",
    ),
    click.option("--id-field", help="Column with the row's id."),
    click.option("--system-field", help="Column with a system prompt."),
    click.option(
        "--instruction", help="Text added to every problem; becomes part of messages, so training sees it too."
    ),
]


@dataclass(frozen=True)
class Reading:
    """How a command reads rows."""

    fields: Fields
    instruction: str | None  # added to every problem


def input_options(function: F) -> F:
    """Hands the command a :class:`Reading` as ``reading``."""
    return option_group("Input rows", "reading", _reading, _OPTIONS)(function)


def _reading(row_format: str | None, instruction: str | None, **columns: str | None) -> Reading:
    named = {name.removesuffix("_field"): column for name, column in columns.items()}
    return Reading(Fields(format=row_format, **named), instruction)
