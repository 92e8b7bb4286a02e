"""`-` as a command's input and output: the rows of files, through pipes."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mindgap_data.commands import main
from mindgap_data.errors import UserError
from tiny import save_tiny_model

ROWS = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(6)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
OPTIONS = ("--verifier", "verdicts:by_length", "--max-tokens", "16", "--samples", "2", "--batch-size", "4", "--quiet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text(LINES)


def run(*args: str, given: str = "") -> Result:
    result = CliRunner().invoke(main, args, input=given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def files() -> set[str]:
    return {path.name for path in Path().iterdir()}


def test_rewriting_and_scoring_through_pipes_gives_the_files_of_a_plain_run(model: str) -> None:
    run("rewrite", "in.jsonl", "-o", "out.jsonl", "--model", model, *OPTIONS)
    run("score", "out.jsonl", "-o", "scored.jsonl", "--model", model, "--quiet")
    piped = run("rewrite", "-", "-o", "-", "--model", model, *OPTIONS, given=LINES)
    assert piped.stdout == Path("out.jsonl").read_text()
    assert piped.stderr.startswith("standard output: 6 rows\n")
    scored = run("score", "-", "-o", "-", "--model", model, "--quiet", given=piped.stdout)
    assert scored.stdout == Path("scored.jsonl").read_text()
    assert "standard output: 6 rows scored, " in scored.stderr
    left = {"stdin.stdout.jsonl.summary.json"}  # settings and figures, as beside any output
    beside = {"in.jsonl", "out.jsonl", "out.jsonl.summary.json", "scored.jsonl"}
    assert files() == beside | left


def test_rows_nobody_took_are_written_again_without_drawing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("rewrite", "in.jsonl", "-o", "-", "--model", model, *OPTIONS)
    reading, writing = os.pipe()
    os.close(reading)
    with monkeypatch.context() as broken, os.fdopen(writing, "w") as stream:
        broken.setattr(sys, "stdout", stream)
        with pytest.raises(UserError) as refused:
            main(command, standalone_mode=False)
        broken.undo()
    assert refused.value.message == "standard output: cannot be written: Broken pipe; the rows are in in.stdout.jsonl"
    assert {"in.stdout.jsonl", "in.stdout.jsonl.journal"} <= files()
    again = run(*command)
    assert [json.loads(line)["id"] for line in again.stdout.splitlines()] == [row["id"] for row in ROWS]
    summary = json.loads(Path("in.stdout.jsonl.summary.json").read_text())
    assert summary["requests_recalled"] > 0
    assert summary["tokens_per_second"] in (0.0, None)
    assert files() == {"in.jsonl", "in.stdout.jsonl.summary.json"}


def test_every_reader_takes_standard_input_and_names_it(model: str) -> None:
    rows = run("rewrite", "in.jsonl", "-o", "-", "--model", model, *OPTIONS).stdout
    Path("out.jsonl").write_text(rows)

    def same(*args: str) -> None:
        piped = run(*("-" if arg == "out.jsonl" else arg for arg in args), given=rows)
        assert piped.stdout == run(*args).stdout.replace("out.jsonl", "stdin").replace("out.", "stdin.")

    same("validate", "out.jsonl")
    same("gap", "out.jsonl", "--json", "--resamples", "50")
    same("audit", "out.jsonl", "--verifier", "verdicts:by_length", "-o", "-")
    same("export", "out.jsonl", "--to", "trl", "-o", "-")
    same("verify", "out.jsonl", "--verifier", "verdicts:by_length", "-o", "-")
    same("select", "out.jsonl", "--json")
    run("report", "-", "-o", "report.html", "--tokenizer", "none", given=rows)
    assert len(run("verify", "-", "--verifier", "verdicts:by_length", "-o", "-", given=rows).stdout.splitlines()) == 6
