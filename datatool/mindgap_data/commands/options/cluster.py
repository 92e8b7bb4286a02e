"""On which machines a run works."""

from collections.abc import Callable
from typing import Any

import click

from mindgap_data.commands.options.group import F, option_group
from mindgap_data.errors import UserError
from mindgap_data.run.cluster.run import ClusterOptions


class _Replicas(click.ParamType):
    name = "N|auto"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "auto" or isinstance(value, int):
            return value
        if not (value.isascii() and value.isdigit() and int(value)):
            self.fail(f"{value!r}: give a number from 1, or auto", param, ctx)
        return int(value)


_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--ray",
        is_flag=False,
        flag_value="auto",
        metavar="[HOST:PORT]",
        help="Run on a Ray cluster: its address; without one, that in $RAY_ADDRESS or the cluster of this machine. "
        "`local` starts one here.",
    ),
    click.option(
        "--replicas",
        type=_Replicas(),
        default="auto",
        show_default=True,
        help="Engines on the cluster (--ray); auto: as many as it has GPUs or, without any, processors for.",
    ),
]


def cluster_options(function: F) -> F:
    """Hands the command :class:`ClusterOptions`, or None for a run in this process, as ``cluster``."""
    return option_group("Cluster", "cluster", _cluster, _OPTIONS)(function)


def _cluster(ray: str | None, replicas: int | str) -> ClusterOptions | None:
    if ray is None:
        if replicas != "auto":
            raise UserError(f"--replicas {replicas} is for a run on a cluster; add --ray, or leave it out")
        return None
    if click.get_current_context().params.get("threads") is not None:
        raise UserError(
            "--threads is for a run on this machine: with --ray an engine gets what Ray gives it; leave it out"
        )
    return ClusterOptions(ray, replicas if isinstance(replicas, int) else None)
