"""How to sample; the defaults are the model's own distribution."""

from collections.abc import Callable

import click

from mindgap_data.commands.options.group import F, option_group
from mindgap_data.engines import Sampling


def sampling_options(max_tokens: int) -> Callable[[F], F]:
    """Hands the command a :class:`Sampling` as ``sampling``; ``max_tokens`` is the default of its option."""
    options = [
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            default=1.0,
            show_default=True,
            help="Sampling temperature; 0 takes the likeliest token (evaluate only).",
        ),
        click.option(
            "--top-p",
            type=click.FloatRange(min=0, max=1, min_open=True),
            default=1.0,
            show_default=True,
            help="Nucleus sampling; 1 is off.",
        ),
        click.option(
            "--top-k",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Keep the k likeliest tokens; 0 is off.",
        ),
        click.option(
            "--min-p",
            type=click.FloatRange(min=0, max=1, max_open=True),
            default=0.0,
            show_default=True,
            help="Drop tokens below this share of the likeliest; 0 is off.",
        ),
        click.option(
            "--repetition-penalty",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="Penalty on tokens that occurred before; 1 is off.",
        ),
        click.option(
            "--max-tokens",
            type=click.IntRange(min=1),
            default=max_tokens,
            show_default=True,
            help="Longest response drawn; longer ones count as truncated.",
        ),
    ]
    return option_group("Sampling", "sampling", Sampling, options)
