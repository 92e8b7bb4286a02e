"""Failed rows drawn again take their places in the output; other settings, and files that were edited, are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from characters import InstantEngine
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.errors import UserError
from mindgap_data.policy.models import ModelSpec
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteJob, RewriteRequest
from mindgap_data.rewrite.retry import RetryJob, read_finished
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.run.job import RunFiles, RunOptions, execute
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.settings import VerifierSettings

Answer = Callable[[str], str]


def number(prompt: str) -> int:
    return int(prompt.split("number ")[1].split("?")[0])


def right(prompt: str) -> str:
    return f"It is {number(prompt)}"


def right_when(solved: Callable[[int], bool]) -> Answer:
    return lambda prompt: right(prompt) if solved(number(prompt)) else "It is -1"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [json.dumps({"id": f"r{n}", "problem": f"The number {n}?", "solution": f"#### {n}"}) for n in range(12)]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join([*rows[:5], "not json", "", rows[2], *rows[5:]]) + "\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles.beside(tmp_path / "out.jsonl")


def request(source: Path, samples: int = 2) -> RewriteRequest:
    options = RewriteOptions(("self",), samples, "first", (GuidedPrompt(),), score_expert=True, seed=5)
    rows = InputRows(open_source(str(source)), Fields())
    return RewriteRequest(rows, Policy(ModelSpec(), EngineSettings()), Sampling(), VerifierSettings("numeric"), options)


def rewrite(source: Path, files: RunFiles, pool: VerifierPool, answer: Answer) -> None:
    engine = InstantEngine(answer)
    execute(RewriteJob(request(source), engine), engine, pool, RunOptions(files, quiet=True))


def retry(source: Path, files: RunFiles, pool: VerifierPool, answer: Answer, samples: int = 2) -> int:
    """Retry; returns how many responses were drawn."""
    engine = InstantEngine(answer)
    job = RetryJob(request(source, samples), engine, read_finished(files), files.output)
    execute(job, engine, pool, RunOptions(files, quiet=True))
    return engine.drawn


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_retried_rows_stand_in_input_order_and_the_others_stay_byte_for_byte(
    source: Path, files: RunFiles, pool: VerifierPool
) -> None:
    rewrite(source, files, pool, right_when(lambda n: n % 3 == 0))
    before = files.output.read_text().splitlines()
    retry(source, files, pool, right_when(lambda n: n != 7))
    after = files.output.read_text().splitlines()
    assert [row["id"] for row in rows(files.output)] == [f"r{n}" for n in range(12) if n != 7]
    assert [line for line in after if line in before] == before
    assert [row["provenance"]["seed"] for row in rows(files.output)] == [
        5 if n % 3 == 0 else 6 for n in range(12) if n != 7
    ]
    assert [(row["line"], row["reason"]) for row in rows(files.failed)] == [
        (6, "not JSON: Expecting value at column 1"),
        (8, f"field id: 'r2' stands already at {source}:3"),
        (11, "no correct response in stages self"),
    ]
    summary = json.loads(files.summary.read_text())
    assert (summary["rewritten"], summary["failed"], summary["retries"]) == (11, 3, 1)
    assert not files.journal.exists()


def test_only_the_failed_rows_are_drawn_and_the_figures_are_the_sum(
    source: Path, files: RunFiles, pool: VerifierPool
) -> None:
    rewrite(source, files, pool, right_when(lambda n: n % 2 == 0))
    drawn = json.loads(files.summary.read_text())["draws"]
    again = retry(source, files, pool, right)
    assert again == 6
    assert json.loads(files.summary.read_text())["draws"] == drawn + again


def test_a_second_retry_draws_with_the_next_seed_and_checks_the_runs_own_settings(
    source: Path, files: RunFiles, pool: VerifierPool
) -> None:
    rewrite(source, files, pool, right_when(lambda n: n < 4))
    retry(source, files, pool, right_when(lambda n: n < 8))
    retry(source, files, pool, right)
    assert [row["provenance"]["seed"] for row in rows(files.output)] == [5] * 4 + [6] * 4 + [7] * 4


def test_a_retry_cut_off_leaves_the_output_and_continues_to_the_same_bytes(
    source: Path, files: RunFiles, tmp_path: Path, pool: VerifierPool
) -> None:
    whole = RunFiles.beside(tmp_path / "whole.jsonl")
    for one in (files, whole):
        rewrite(source, one, pool, right_when(lambda n: n < 3))
    before = files.output.read_bytes(), files.failed.read_bytes(), files.summary.read_bytes()
    retry(source, whole, pool, right)

    def dies(prompt: str) -> str:
        if number(prompt) == 11:  # not in the first batch
            raise KeyboardInterrupt
        return right(prompt)

    with pytest.raises(SystemExit):
        retry(source, files, pool, dies)
    assert (files.output.read_bytes(), files.failed.read_bytes(), files.summary.read_bytes()) == before
    assert files.journal.exists()
    assert retry(source, files, pool, right) < 9
    assert files.output.read_bytes() == whole.output.read_bytes()
    assert files.failed.read_bytes() == whole.failed.read_bytes()


def test_a_failed_file_already_in_place_does_not_lose_rows(source: Path, files: RunFiles, pool: VerifierPool) -> None:
    # Killed between the renames, the failed file is the retry's and the output still the run's.
    rewrite(source, files, pool, right_when(lambda n: n < 3))
    files.failed.unlink()
    retry(source, files, pool, right)
    assert [row["id"] for row in rows(files.output)] == [f"r{n}" for n in range(12)]


def test_other_settings_are_named(source: Path, files: RunFiles, pool: VerifierPool) -> None:
    rewrite(source, files, pool, right_when(lambda n: n < 3))
    with pytest.raises(UserError) as error:
        retry(source, files, pool, right, samples=3)
    assert str(error.value) == (
        f"{files.summary}: the run had other settings (samples was 2, now 3); repeat its options, and its input"
    )


def test_another_input_is_refused(source: Path, files: RunFiles, pool: VerifierPool) -> None:
    rewrite(source, files, pool, right_when(lambda n: n < 3))
    source.write_text(source.read_text().replace("number 11", "number 12"))
    with pytest.raises(UserError, match=r"the run had other settings \(input was "):
        retry(source, files, pool, right)


def test_an_output_in_another_order_is_refused(source: Path, files: RunFiles, pool: VerifierPool) -> None:
    rewrite(source, files, pool, right_when(lambda n: n in (1, 2)))
    files.output.write_text("".join(reversed(files.output.read_text().splitlines(keepends=True))))
    before = files.output.read_bytes()
    with pytest.raises(UserError) as error:
        retry(source, files, pool, right)
    assert str(error.value) == (
        f"{files.output}: row 'r1' is not in the input, or not in its order; "
        "retry needs the file as `mindgap-data rewrite` wrote it"
    )
    assert files.output.read_bytes() == before


def test_an_output_without_a_summary_is_refused(files: RunFiles) -> None:
    files.output.write_text("{}\n")
    with pytest.raises(UserError) as error:
        read_finished(files)
    assert str(error.value) == f"{files.summary}: not the summary of a finished `mindgap-data rewrite`"
