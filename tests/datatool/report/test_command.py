"""`mindgap-data report` as a user runs it."""

import json
import re

import pytest
from click.testing import CliRunner

from gap_records import make_record, write_records
from mindgap_data.commands import main
from rewritten import write_rewritten
from tiny import save_tiny_model

ROWS = [
    make_record(tier, [-0.5] * 4, None if tier == "expert" else [-0.5] * 4, [-1.0] * 3, id=f"{tier}{i}")
    for i in range(12)
    for tier in ("self", "guided", "expert")
]


def run(*arguments):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def summary_of(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="summary">(.*?)</script>', text).group(1))


def rows_of(page):
    blocks = re.findall(
        r'<script type="application/json" class="rows">(.*?)</script>', page.read_text(encoding="utf-8")
    )
    return [row for block in blocks for row in json.loads(block)]


def test_the_page_holds_figures_and_rows(tmp_path):
    page = tmp_path / "report.html"
    result = run(write_records(tmp_path / "a.jsonl", ROWS), "-o", page, "--tokenizer", "none")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        "good: Rewriting narrowed the policy gap (chosen - expert: -0.333 nats per token and problem ["
    )
    assert lines[-1].startswith(f"{page}: 36 of 36 rows, ")
    summary = summary_of(page)
    assert summary["figures"]["all"]["rows"] == 36
    assert summary["figures"]["self"]["difference"]["estimate"] == pytest.approx(-0.5)
    assert summary["index"]["tier"] == [0, 1, 2] * 12
    assert summary["training"] is None
    assert [row["id"] for row in rows_of(page)] == [row["id"] for row in ROWS]


def test_training_curves_are_added(tmp_path):
    state = tmp_path / "trainer_state.json"
    state.write_text(json.dumps({"log_history": [{"step": i, "loss": 1.0, "mindgap/self/ess": 0.9} for i in range(3)]}))
    page = tmp_path / "report.html"
    path = write_records(tmp_path / "a.jsonl", ROWS)
    result = run(path, "-o", page, "--tokenizer", "none", "--trainer-state", state)
    assert result.exit_code == 0, result.output
    training = summary_of(page)["training"]
    assert training["curves"]["ess"] == {"self": [[0, 1, 2], [0.9, 0.9, 0.9]]}
    assert [finding["title"] for finding in training["findings"]] == ["Training looks steady"]


def test_texts_are_cut_into_tokens_by_the_files_own_model(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    records = write_rewritten(model, tmp_path / "a.jsonl", count=4)
    page = tmp_path / "report.html"
    result = run(tmp_path / "a.jsonl", "-o", page)
    assert result.exit_code == 0, result.output
    assert "strip" not in result.stderr
    expert = next(row for row, record in zip(rows_of(page), records, strict=True) if record["tier"] == "expert")
    # One byte a token, and the end of the turn.
    assert expert["cl"] == "AB" * len(expert["c"]) + "AA"


def test_without_the_model_the_page_says_why_there_are_no_token_colours(tmp_path):
    page = tmp_path / "report.html"
    result = run(write_records(tmp_path / "a.jsonl", ROWS), "-o", page)
    assert result.exit_code == 0
    assert result.stderr.startswith("Note: tokenizer 'tiny' cannot be loaded: ")
    assert result.stderr.endswith("; token log-weights are shown as a strip\n")
    assert "cl" not in rows_of(page)[0]


def test_another_models_tokenizer_is_refused_by_name(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    page = tmp_path / "report.html"
    result = run(write_records(tmp_path / "a.jsonl", ROWS), "-o", page, "--tokenizer", model)
    assert result.exit_code == 2
    assert re.fullmatch(
        rf"Error: tokenizer '{model}' is sha256:[0-9a-f]{{16}}, the file's ids are of sha256:aa\n", result.stderr
    )
    assert not page.exists()


def test_a_broken_row_leaves_an_old_page_alone(tmp_path):
    page = tmp_path / "report.html"
    page.write_text("old")
    path = write_records(tmp_path / "a.jsonl", [*ROWS, ROWS[0] | {"policy_logprobs": []}])
    result = run(path, "-o", page, "--tokenizer", "none")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {path}:37: ")
    assert page.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jsonl", "report.html"]


def test_no_rows_listed_when_none_are_wanted(tmp_path):
    page = tmp_path / "report.html"
    result = run(write_records(tmp_path / "a.jsonl", ROWS), "-o", page, "--tokenizer", "none", "--max-rows", "0")
    assert result.exit_code == 0, result.output
    assert rows_of(page) == []
