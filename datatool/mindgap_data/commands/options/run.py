"""How a command that can be continued treats its files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from mindgap_data.commands.options.group import F, option_group

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
    click.option("--restart", is_flag=True, help="Forget an unfinished run of this output."),
    click.option("--quiet", is_flag=True, help="No progress."),
]


@dataclass(frozen=True)
class RunFlags:
    """What to do with files of an earlier run, and whether to show progress."""

    overwrite: bool
    restart: bool
    quiet: bool


def run_options(function: F) -> F:
    """Hands the command :class:`RunFlags` as ``run``."""
    return option_group("Options", "run", RunFlags, _OPTIONS)(function)
