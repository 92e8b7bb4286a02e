"""The run itself, as Ray Data does it: table, blocks, a pool of replicas, shards, and a checkpoint of each."""

import logging
import math
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError, one_line
from mindgap_data.run.cluster.folder import WorkFolder
from mindgap_data.run.cluster.nodes import rows_in_flight
from mindgap_data.run.cluster.replica import Replica
from mindgap_data.run.cluster.work import Work

# Rows of a block, which one call of a replica works on and one shard holds. Small, so that an engine gets new rows
# often; more where there are very many rows, so that a million rows are not a million files.
BLOCK_ROWS, MOST_BLOCK_ROWS = 16, 256
# Blocks a replica works on at a time, and that wait at it beyond those.
CALLS, WAITING = (2, 64), 4
ATTEMPTS = 3  # of a run whose nodes die


def run_pipeline(work: Work[Any], folder: WorkFolder, rows: int, replicas: int, gpus: int) -> None:
    """Work on every row that has no result yet; Ray is connected.

    Ray replaces its tasks and our replicas on a node that dies, but not the actors it reads the table with: then the
    run begins again, behind what is finished.

    Raises:
        UserError: a replica cannot work, or the cluster gave up; what is finished is kept.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _run_once(work, folder, rows, replicas, gpus)
        except Exception as error:
            if attempt == ATTEMPTS or any(isinstance(one, UserError) for one in _causes(error)):
                raise UserError(why(error)) from error
        else:
            return


def _run_once(work: Work[Any], folder: WorkFolder, rows: int, replicas: int, gpus: int) -> None:
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    _be_quiet()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.checkpoint_config = CheckpointConfig("id", str(folder.done), delete_checkpoint_on_success=False)
    block = block_rows(rows, replicas)
    calls = min(max(math.ceil(rows_in_flight(work.policy) / block), CALLS[0]), CALLS[1])
    try:
        ray.data.read_parquet(str(folder.table)).repartition(target_num_rows_per_block=block).map_batches(
            Replica,
            fn_constructor_args=(work.elsewhere(), folder, Path.cwd(), replicas),
            batch_size=block,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=replicas,
                max_concurrent_calls_per_actor=calls,
                max_tasks_in_flight_per_actor=calls + WAITING,
                enable_true_multi_threading=True,  # else one call at a time
            ),
            num_cpus=1,
            num_gpus=gpus,
        ).write_parquet(str(folder.shards))
    finally:
        context.checkpoint_config = None


def block_rows(rows: int, replicas: int) -> int:
    """Rows of one block: few enough that all replicas end together, enough that blocks are not too many."""
    return max(1, min(BLOCK_ROWS, rows // (4 * replicas)), min(MOST_BLOCK_ROWS, rows // (256 * replicas)))


def why(error: BaseException) -> str:
    """What an exception of Ray's comes from, for the user."""
    causes = _causes(error)
    for one in causes:
        if isinstance(one, UserError):
            return one.message
    said = [line for line in str(causes[0]).splitlines() if line.strip()] or [type(error).__name__]
    return f"the Ray job failed: {one_line(said[-1])}; run the same command again to continue it"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        cause = getattr(error, "cause", None)
        error = cause if isinstance(cause, BaseException) else error.__cause__
    return found


def _be_quiet() -> None:
    """Keep Ray Data's own account of its work out of ours."""
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)
