"""The clip whose effect on importance weights is shown."""

import click

from mindgap_data.commands.options.group import F


def clip_options(function: F) -> F:
    """Hands the command ``clip`` and ``clip_max``."""
    clip = click.option(
        "--clip",
        type=click.Choice(["truncate", "mask", "none"]),
        default="truncate",
        show_default=True,
        help="The clip whose share of changed weights is shown.",
    )
    bound = click.option(
        "--clip-max", type=click.FloatRange(min=1), default=2.0, show_default=True, help="Bound C of the clip."
    )
    return clip(bound(function))
