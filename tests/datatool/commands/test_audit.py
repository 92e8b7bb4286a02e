"""The audit command: counts, order of reading, exit codes, bad input."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from audited import EXPERT, OWN, record
from mindgap_data.commands import main


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(*args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["audit", *map(str, args)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


ROWS = [
    record("good"),
    record("bad", OWN.replace("7", "8")),
    record("leaky", "As the teacher says, 3 + 4 = 7, so it is \\boxed{7}.", tier="guided"),
    record("none", "I do not know how to do this one, sorry about it.", tier="guided"),
    record("good", EXPERT, tier="expert"),
]


def test_json_summary_counts_by_tier_and_ranks(tmp_path: Path) -> None:
    code, output = run(write(tmp_path / "out.jsonl", ROWS), "--json")
    assert code == 0, output
    summary = json.loads(output)
    assert (summary["rows"], summary["rows_with_findings"]) == (5, 4)
    assert summary["tiers"] == {"self": 2, "guided": 2, "expert": 1}
    found = {kind: counts for kind, counts in summary["findings"].items() if any(counts.values())}
    assert found == {
        "duplicate_id": {"self": 0, "guided": 0, "expert": 1},
        "wrong": {"self": 1, "guided": 0, "expert": 0},
        "leak": {"self": 0, "guided": 1, "expert": 0},
        "no_answer": {"self": 0, "guided": 1, "expert": 0},
    }
    assert [(row["line"], row["score"]) for row in summary["read_first"]] == [(2, 10), (5, 10), (3, 7), (4, 6)]


def test_findings_file_has_every_flagged_row_in_reading_order(tmp_path: Path) -> None:
    code, output = run(write(tmp_path / "out.jsonl", ROWS), "-o", tmp_path / "found.jsonl", "--top", 1)
    assert code == 0, output
    rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == [2, 5, 3, 4]
    assert rows[2] == {
        "line": 3,
        "id": "leaky",
        "tier": "guided",
        "findings": [{"kind": "leak", "detail": "says 'as the teacher says'"}],
        "excerpt": ROWS[2]["messages"][1]["content"],
        "score": 7,
    }
    assert "4 of 5 rows have findings" in output
    assert "line 2, self, id bad: wrong: does not come to the reference answer '7'" in output
    assert "line 5" not in output, "--top 1 shows one row"


def test_the_verifier_and_its_options_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", [record(text="We add 3 and 4 and come to about \\boxed{7.02} apples.")])
    loose = run(path, "--verifier", "numeric", "--verifier-option", "abs_tol=0.1", "--json")
    strict = run(path, "--verifier", "numeric", "--json")
    assert [json.loads(output)["findings"]["wrong"]["self"] for _, output in (loose, strict)] == [0, 1]


def test_a_sound_file(tmp_path: Path) -> None:
    assert run(write(tmp_path / "out.jsonl", [ROWS[0]])) == (0, "1 rows, no findings.\n")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-on", "any"], 1),
        (["--fail-on", "leak"], 1),
        (["--fail-on", "language"], 0),
        (["--fail-on", "language", "--fail-on", "wrong"], 1),
    ],
)
def test_fail_on_sets_the_exit_code(tmp_path: Path, options: list[str], code: int) -> None:
    assert run(write(tmp_path / "out.jsonl", ROWS), *options)[0] == code


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = record("\x1b[2J[red]id", "[bold]\x1b]0;owned\x07 the given solution says [/nope] 8 \u202e")
    code, output = run(write(tmp_path / "out.jsonl", [hostile]))
    assert code == 0, output
    assert "\x1b" not in output
    assert "\x07" not in output
    assert "\u202e" not in output
    assert "[red]id" in output


ERRORS = [
    ("missing file", None, "{file}: cannot be read: No such file or directory"),
    ("empty", "", "{file}: the file has no rows"),
    ("not JSON", "{nope\n", "{file}:1: not JSON: Expecting property name enclosed in double quotes at column 2"),
    (
        "plain SFT file",
        '{"question": "1+1", "answer": "2"}\n',
        "{file}:1: field provenance.verifier: missing; this is not a rewritten file",
    ),
    (
        "broken row",
        json.dumps(ROWS[0]) + "\n" + json.dumps(record(policy_logprobs=[-0.5])) + "\n",
        "{file}:2: policy_logprobs has 1 values for 3 response_token_ids; "
        "`mindgap-data validate {file}` lists every such row",
    ),
    (
        "unknown version",
        json.dumps(record(provenance={**ROWS[0]["provenance"], "schema_version": 2})) + "\n",
        "{file}:1: provenance.schema_version is 2; this mindgap reads version 1; update mindgap, or rewrite the file",
    ),
    (
        "verifier that is code",
        json.dumps(record(provenance={**ROWS[0]["provenance"], "verifier": "os:system"})) + "\n",
        "{file}: made with verifier 'os:system'; name it with --verifier to run it",
    ),
]


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_bad_input_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "in.jsonl"
    if text is not None:
        path.write_text(text)
    assert run(path) == (2, "Error: " + message.format(file=path) + "\n")
