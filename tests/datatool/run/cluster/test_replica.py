"""A replica without a cluster: many calls over one engine, rows as they come back, draws recalled from the folder."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from instant_work import InstantRequest, instant_request, write_numbers
from mindgap_data.errors import UserError
from mindgap_data.run.cluster.folder import LockedFolder, WorkFolder
from mindgap_data.run.cluster.replica import Replica
from mindgap_data.run.cluster.work import KnownEngine, Result
from mindgap_data.run.job import RunFiles, RunOptions, RunResult, execute, write_results
from mindgap_data.run.outcomes import Meter


@pytest.fixture
def request_(tmp_path: Path) -> InstantRequest:
    return instant_request(write_numbers(tmp_path / "in.jsonl"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[WorkFolder]:
    with LockedFolder(tmp_path / "out.jsonl.ray", restart=False) as folder:
        yield folder


def rows_of(folder: WorkFolder) -> Any:
    return pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in sorted(folder.table.iterdir())])


def run(request: InstantRequest, folder: WorkFolder) -> list[Result[Any]]:
    """All rows, two in a call, on one replica; in their order."""
    folder.write_table(request.lines())
    table = rows_of(folder)
    replica = Replica(request.elsewhere(), folder, Path.cwd(), replicas=1)
    calls = [table.slice(start, 2) for start in range(0, len(table), 2)]
    with ThreadPoolExecutor(len(calls)) as threads:
        return [Result(**row) for found in threads.map(replica, calls) for row in found.to_pylist()]


def test_the_rows_of_many_calls_become_the_files_of_a_run_in_one_process(
    request_: InstantRequest, folder: WorkFolder, tmp_path: Path
) -> None:
    results = run(request_, folder)
    assert [result.id for result in results] == list(range(1, 15))
    known = folder.known_engine(request_.tokenizer(), request_.sampling)
    assert known == KnownEngine("instant", known.tokenizer, request_.sampling, 4096, None, None)
    job, files, result = request_.job(known), RunFiles.beside(tmp_path / "cluster.jsonl"), RunResult(Meter())
    write_results((one.open(job) for one in results), job, result, files)

    plain = RunFiles.beside(tmp_path / "plain.jsonl")
    with request_.pool() as pool, request_.engine(quiet=True) as engine:
        expected = execute(request_.job(engine), engine, pool, RunOptions(plain, quiet=True))
    assert files.output.read_bytes() == plain.output.read_bytes()
    assert files.failed.read_bytes() == plain.failed.read_bytes()
    assert [json.loads(line)["reason"] for line in plain.failed.read_text().splitlines()] == [
        "not JSON: Expecting value at column 1",
        f"field id: 'r2' stands already at {tmp_path / 'in.jsonl'}:3",
    ]
    cost, meter = Meter(), expected.meter
    for one in results:
        one.count(cost)
    assert (cost.draws, cost.drawn_tokens, cost.scored_tokens) == (
        meter.draws,
        meter.drawn_tokens,
        meter.scored_tokens,
    )
    (state,) = folder.told()
    assert (state["rows"], state["draws"], state["recalled"]) == (14, meter.draws, 0)


def test_a_replica_recalls_what_another_one_has_drawn(request_: InstantRequest, folder: WorkFolder) -> None:
    first = run(request_, folder)
    assert run(request_, folder) == first
    states = {state["recalled"]: state for state in folder.told()}
    assert len(states) == 2
    again = states.pop(max(states))
    assert again["recalled_draws"] == again["draws"] > 0


def test_a_replica_of_other_settings_is_refused(request_: InstantRequest, folder: WorkFolder, tmp_path: Path) -> None:
    Replica(request_.elsewhere(), folder, Path.cwd(), replicas=1)
    other = instant_request(write_numbers(tmp_path / "other.jsonl", count=13))
    with pytest.raises(UserError, match="differs from the node that began"):
        Replica(other.elsewhere(), folder, Path.cwd(), replicas=1)


def test_engines_that_die_again_and_again_end_the_run(request_: InstantRequest, folder: WorkFolder) -> None:
    for _ in range(4):
        folder.tell_fault("a: out of memory with a single row")
    with pytest.raises(UserError) as caught:
        Replica(request_.elsewhere(), folder, Path.cwd(), replicas=1)
    assert caught.value.message == "the engines have died 4 times; the last: a: out of memory with a single row"
