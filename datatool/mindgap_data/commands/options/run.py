"""How a command that can be continued treats its files."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mindgap_data.commands.options.group import F, option_group

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--overwrite", is_flag=True, help="Replace an output that exists."),
    click.option("--restart", is_flag=True, help="Forget an unfinished run of this output."),
    click.option("--quiet", is_flag=True, help="Show no progress."),
]

output_option = click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help="Output: JSONL, or gzip or parquet if it ends in .gz or .parquet; - is standard output.",
)


@dataclass(frozen=True)
class RunFlags:
    """What to do with files of an earlier run, and whether to show progress."""

    overwrite: bool
    restart: bool
    quiet: bool


@dataclass(frozen=True)
class Allowance:
    """How many rows may fail: a share of all, or a number."""

    text: str
    most: float
    is_share: bool

    def check(self, failed: int, rows: int, where: Path) -> None:
        """Raise TooManyFailed, exit code 3, where more failed; the files are in place by then."""
        if failed > self.most * (rows if self.is_share else 1):
            raise TooManyFailed(
                f"{failed} of {rows} rows failed, more than --max-failed {self.text} allows; "
                f"the output is in place, and the reasons are in {where}"
            )


class TooManyFailed(click.ClickException):
    """The run is finished, but too much of it failed."""

    exit_code = 3


class _AllowanceType(click.ParamType):
    name = "SHARE|COUNT"

    def convert(self, value: str | Allowance, param: click.Parameter | None, ctx: click.Context | None) -> Allowance:
        if isinstance(value, Allowance):
            return value
        number, percent, rest = value.strip().partition("%")
        try:
            most = float(number) / (100 if percent else 1)
        except ValueError:
            most = -1.0
        if rest or not 0 <= most < math.inf or (most > 1 if percent else not most.is_integer()):
            self.fail(f"{value!r}: give a share such as 50%, or a number of rows such as 10", param, ctx)
        return Allowance(value.strip(), most, bool(percent))


def max_failed_option(function: F) -> F:
    """Hands the command an :class:`Allowance` as ``max_failed``."""
    return click.option(
        "--max-failed",
        type=_AllowanceType(),
        default="50%",
        show_default=True,
        help="How many rows may fail, as a share or a number. If more do, the exit code is 3.",
    )(function)


def run_options(function: F) -> F:
    """Hands the command :class:`RunFlags` as ``run``."""
    return option_group("Options", "run", RunFlags, _OPTIONS)(function)
