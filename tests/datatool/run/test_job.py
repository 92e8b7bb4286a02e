"""The life of a run: what is written where, what a failure leaves behind, who holds the lock."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from characters import InstantEngine
from mindgap_data.engines import Failure
from mindgap_data.errors import UserError
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.run.job import FailedRow, Finished, RunFiles, RunOptions, RunResult, execute, per_row
from mindgap_data.run.outcomes import Attempt
from mindgap_data.run.scheduler import Steps, Task, draw
from mindgap_data.verify.pool import VerifierPool


class PickyWriter(JsonlWriter):
    """Refuses rows about nine."""

    def write(self, row: Any) -> None:
        if row["n"] == 9:
            raise RowError("nine is not written")
        super().write(row)


@dataclass
class Doubling:
    """Draws once for every number; odd ones below ten fail."""

    numbers: list[int]
    stops_at: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    name: str = "double"
    done: str = "doubled"
    source: str = "numbers.jsonl"

    def total(self) -> int:
        return len(self.numbers)

    def tasks(self) -> Iterator[Task[Finished[dict[str, Any]] | FailedRow]]:
        for line, n in enumerate(self.numbers, start=1):
            if n == self.stops_at:
                raise KeyboardInterrupt
            yield Task(per_row(partial(self._steps, n), line, f"id {n}", {"n": n}), "42", {})

    def keep(self, attempt: Attempt) -> Attempt:
        return attempt

    def writer(self, path: Path) -> PickyWriter:
        return PickyWriter(path)

    def add(self, row: dict[str, Any]) -> str:
        return "even" if row["n"] % 2 == 0 else "odd"

    def summary(self, result: RunResult) -> str:
        return json.dumps({"written": result.written, "failed": result.failed})

    def _steps(self, n: int) -> Steps[dict[str, Any]]:
        (outcome,) = yield [draw(f"{n}", [n], 0, 8)]
        assert isinstance(outcome, Attempt)
        if n in (1, 3, 5, 7):
            raise RowError(f"{n} is odd")
        return {"n": n, "text": outcome.text}


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool("exact") as pool:
        yield pool


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_ends_in_the_output_or_in_the_failed_file_in_input_order(tmp_path: Path, pool: VerifierPool) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")
    result = execute(Doubling([2, 3, 4, 9, 11]), InstantEngine(), pool, RunOptions(files, quiet=True))
    assert [row["n"] for row in lines(files.output)] == [2, 4, 11]
    assert lines(files.failed) == [
        {"line": 2, "id": "id 3", "reason": "3 is odd", "row": {"n": 3}},
        {"line": 4, "id": None, "reason": "nine is not written", "row": {"n": 9}},
    ]
    assert (result.written, result.failed, result.first_failure) == (3, 2, "line 2: 3 is odd")
    assert json.loads(files.summary.read_text()) == {"written": 3, "failed": 2}
    assert not files.journal.exists()


def test_a_failed_file_of_an_earlier_run_goes_when_nothing_fails(tmp_path: Path, pool: VerifierPool) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")
    files.failed.write_text("old\n")
    execute(Doubling([2]), InstantEngine(), pool, RunOptions(files, quiet=True))
    assert not files.failed.exists()


def test_when_every_row_fails_it_is_an_error_and_the_reasons_are_kept(tmp_path: Path, pool: VerifierPool) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")
    with pytest.raises(UserError) as error:
        execute(Doubling([1, 3]), InstantEngine(), pool, RunOptions(files, quiet=True))
    assert error.value.message == (
        f"numbers.jsonl: no row could be doubled (line 1: 1 is odd); all are in {files.failed}"
    )
    assert len(lines(files.failed)) == 2
    assert not files.output.exists()


def test_a_stopped_run_says_how_to_go_on_and_draws_nothing_twice(
    tmp_path: Path, pool: VerifierPool, capsys: pytest.CaptureFixture[str]
) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")
    numbers = list(range(10, 60, 2))
    with pytest.raises(SystemExit) as stopped:
        execute(Doubling(numbers, stops_at=50), InstantEngine(), pool, RunOptions(files, quiet=True))
    assert stopped.value.code == 130
    assert capsys.readouterr().err == (
        f"\nStopped; nothing is lost. Run the same command again to continue {files.output}\n"
    )
    assert not files.output.exists()
    engine = InstantEngine()
    execute(Doubling(numbers), engine, pool, RunOptions(files, quiet=True))
    assert 0 < engine.drawn < len(numbers)
    assert [row["n"] for row in lines(files.output)] == numbers


def test_restart_draws_everything_again(tmp_path: Path, pool: VerifierPool) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")
    numbers = list(range(10, 60, 2))
    with pytest.raises(SystemExit):
        execute(Doubling(numbers, stops_at=50), InstantEngine(), pool, RunOptions(files, quiet=True))
    engine = InstantEngine()
    job = Doubling(numbers, settings={"other": 1})
    execute(job, engine, pool, RunOptions(files, restart=True, quiet=True))
    assert engine.drawn == len(numbers)


def test_a_rerun_asks_again_for_what_could_not_be_served(tmp_path: Path, pool: VerifierPool) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")

    class Busy(InstantEngine):
        def collect(self, checks: Any = ()) -> Any:
            return [(request, Failure("busy")) for request, _ in super().collect()]

    class Failing(Doubling):
        def _steps(self, n: int) -> Steps[dict[str, Any]]:
            (outcome,) = yield [draw(f"{n}", [n], 0, 8)]
            if isinstance(outcome, Failure):
                raise RowError(outcome.reason)
            return {"n": n}

    numbers = list(range(10, 60, 2))
    with pytest.raises(SystemExit):
        execute(Failing(numbers, stops_at=50), Busy(), pool, RunOptions(files, quiet=True))
    engine = InstantEngine()
    execute(Failing(numbers), engine, pool, RunOptions(files, quiet=True))
    assert engine.drawn == len(numbers)
    assert [row["n"] for row in lines(files.output)] == numbers


def test_restart_does_not_take_the_journal_of_a_run_that_is_going_on(tmp_path: Path, pool: VerifierPool) -> None:
    files = RunFiles.beside(tmp_path / "out.jsonl")

    class SecondCommand(InstantEngine):
        def submit(self, requests: Any) -> None:
            with pytest.raises(UserError) as error:
                execute(Doubling([4]), InstantEngine(), pool, RunOptions(files, restart=True, quiet=True))
            assert error.value.message == (
                f"{files.journal}: another run is writing this output; wait for it or choose another -o"
            )
            super().submit(requests)

    execute(Doubling([2]), SecondCommand(), pool, RunOptions(files, quiet=True))
    assert [row["n"] for row in lines(files.output)] == [2]
