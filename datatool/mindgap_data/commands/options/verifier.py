"""How draws are checked."""

from collections.abc import Callable
from typing import Any

import click

from mindgap_data.commands.options.group import F, option_group
from mindgap_data.commands.pairs import pairs_from
from mindgap_data.verify.settings import VerifierSettings

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--verifier",
        default="math",
        show_default=True,
        help="math, numeric, exact, choice, regex, json, tool_call, code, judge, none, an entry point or "
        "module:function.",
    ),
    click.option(
        "--verifier-option",
        "verifier_options",
        multiple=True,
        metavar="NAME=VALUE",
        help="Option of the verifier. Repeatable.",
    ),
    click.option(
        "--verify-timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=5.0,
        show_default=True,
        help="Time limit for checking one answer, in seconds.",
    ),
    click.option("--workers", type=click.IntRange(min=1), help="Verifier processes. [default: by processors]"),
]


def verifier_options(function: F) -> F:
    """Hands the command a :class:`VerifierSettings` as ``verifier``."""
    return option_group("Verifier", "verifier", _settings, _OPTIONS)(function)


def _settings(
    verifier: str, verifier_options: tuple[str, ...], verify_timeout: float, workers: int | None
) -> VerifierSettings:
    return VerifierSettings(verifier, pairs_from(verifier_options, "--verifier-option"), verify_timeout, workers)
