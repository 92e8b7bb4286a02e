"""A job on a Ray cluster from its rows to its files: the counterpart of :func:`mindgap_data.run.job.execute`."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from mindgap_data.errors import UserError
from mindgap_data.run.cluster.folder import LockedFolder, WorkFolder
from mindgap_data.run.cluster.nodes import connected, gpus_of_replica, replicas_on, survey
from mindgap_data.run.cluster.pipeline import run_pipeline
from mindgap_data.run.cluster.work import ClusterJob, Result, Work
from mindgap_data.run.job import (
    FailedRow,
    Finished,
    RunFiles,
    RunOptions,
    RunResult,
    execute,
    refuse_nothing_written,
    stoppable,
    write_results,
)
from mindgap_data.run.outcomes import Meter
from mindgap_data.run.progress import RunProgress

T = TypeVar("T")

LOOK_SECONDS = 1.0  # between two looks at what the replicas have done


@dataclass(frozen=True)
class ClusterOptions:
    """On which cluster, and on how much of it."""

    address: str  # host:port, "auto" or "local"
    replicas: int | None  # None: as many as fit


def run_work(work: Work[T], cluster: ClusterOptions | None, options: RunOptions) -> tuple[ClusterJob[T], RunResult]:
    """Run a job to its end, in this process or on a cluster; returns it with its tally. Raises what those raise."""
    if cluster is not None:
        return execute_on_cluster(work, cluster, options)
    with work.pool() as pool, work.engine(options.quiet) as engine:
        job = work.job(engine)
        return job, execute(job, engine, pool, options)


def execute_on_cluster(work: Work[T], cluster: ClusterOptions, options: RunOptions) -> tuple[ClusterJob[T], RunResult]:
    """Run a job to its end on a cluster and put its files in place; returns it with its tally.

    Raises:
        UserError: the cluster, a node, an engine, the input or a disk failed (what is finished is kept for a rerun),
            or every row failed.
        SystemExit: 130, where the user or SIGTERM stopped it; the work folder stays.
    """
    files = options.files
    _refuse_local_run(files, options.restart)
    result = RunResult(Meter())
    with stoppable(files.output), LockedFolder(files.cluster, options.restart) as folder:
        rows = folder.write_table(work.lines())
        if folder.finished() < rows:
            _work(work, folder, rows, cluster, options.quiet)
        known = folder.known_engine(work.tokenizer(), work.sampling)
        job = work.job(known)
        folder.agree(job.settings, known)
        result.replicas = folder.told()
        write_results(_opened(folder.results(rows), job, result.meter), job, result, files)
        folder.remove()
    refuse_nothing_written(job, result, files)
    return job, result


def _work(work: Work[Any], folder: WorkFolder, rows: int, cluster: ClusterOptions, quiet: bool) -> None:
    with connected(cluster.address) as nodes:
        gpus = gpus_of_replica(work.policy, nodes)
        replicas = min(replicas_on(nodes, cluster.replicas, gpus), rows)
        survey(nodes, folder, work.policy.spec.model)
        with _progress(folder, rows, quiet):
            run_pipeline(work, folder, rows, replicas, gpus)


def _opened(results: Iterable[Result[T]], job: ClusterJob[T], meter: Meter) -> Iterator[Finished[T] | FailedRow]:
    for result in results:
        result.count(meter)
        yield result.open(job)


@contextmanager
def _progress(folder: WorkFolder, rows: int, quiet: bool) -> Iterator[None]:
    """Tell what the replicas do while they work."""
    meter, stop = Meter(), threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_SECONDS):
            sum_up(folder.told(), meter)

    looking = threading.Thread(target=look, name="mindgap-replicas", daemon=True)
    with RunProgress("ray", rows, meter, quiet):
        looking.start()
        try:
            yield
        finally:
            stop.set()
            looking.join()


_SUMMED = (
    "rows", "draws", "drawn_tokens", "scored_tokens", "recalled", "recalled_draws", "recalled_tokens", "ahead_draws",
    "ahead_tokens", "slots", "busy",
)  # fmt: skip


def sum_up(states: Iterable[dict[str, Any]], meter: Meter) -> None:
    """Set a meter to what replicas have done together."""
    states = list(states)
    for name in _SUMMED:
        setattr(meter, name, sum(state[name] for state in states))


def _refuse_local_run(files: RunFiles, restart: bool) -> None:
    if not files.journal.exists():
        return
    if not restart:
        raise UserError(
            f"{files.journal}: an unfinished run without --ray; continue it without, or forget it with --restart"
        )
    files.journal.unlink()
