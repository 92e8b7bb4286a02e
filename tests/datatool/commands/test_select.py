"""select: stages dropped fall back to the expert, rows and tokens match, every row stays a valid record."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.record import Record, record_error
from mindgap_data.rewrite.selection import GRID, RowLengths, expert_record, select

ALL = frozenset({"self", "guided"})


def record(key: str, tier: str, ids: list[int], expert_ids: list[int] | None = None, **extra: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": key,
        "messages": [
            {"role": "user", "content": f"problem {key}"},
            {"role": "assistant", "content": f"expert {key}" if tier == "expert" else f"own {key}"},
        ],
        "tier": tier,
        "response_token_ids": ids,
        "behavior_logprobs": None if tier == "expert" else [-0.5] * len(ids),
        "policy_logprobs": [-0.25] * len(ids),
        "answer": "7",
        "expert": f"expert {key}",
        "attempts": {"self": {"sampled": 2, "correct": 1, "wrong": 1}, "expert_overlap": 0.25, "near_copy": False},
        "provenance": {
            "schema_version": 1,
            "tool_version": "0.1.0",
            "model": "m",
            "engine": "transformers",
            "tokenizer": "t",
            "chat_template": "c",
            "sampling": {},
            "behavior": None if tier == "expert" else "model",
            "behavior_prompt": {"self": "plain", "guided": "guided"}.get(tier),
            "selection": "first",
            "verifier": "math",
            "seed": 0,
        },
        "subject": "sums",
        **extra,
    }
    if expert_ids is not None:
        row |= {"expert_token_ids": expert_ids, "expert_logprobs": [-1.5] * len(expert_ids)}
    return row


ROWS = [
    record("a", "self", [1, 2], [1, 2, 3, 4, 5, 6]),
    record("b", "guided", [3, 4, 5], [1, 2, 3, 4, 5]),
    record("c", "expert", [6, 7, 8, 9]),
    record("d", "self", [5], [1, 2, 3]),
]


@pytest.fixture
def rewritten(tmp_path: Path) -> Path:
    return write(tmp_path / "out.jsonl", ROWS)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["select", *map(str, args)])
    return result.exit_code, result.output


def test_the_grid_has_the_same_rows_in_every_file_and_all_are_valid(rewritten: Path, tmp_path: Path) -> None:
    code, output = run(rewritten, "-o", tmp_path / "grid")
    assert code == 0, output
    tiers = {path.stem: [row["tier"] for row in read(path)] for path in (tmp_path / "grid").iterdir()}
    assert tiers == {
        "expert": ["expert"] * 4,
        "self+expert": ["self", "expert", "expert", "self"],
        "guided+expert": ["expert", "guided", "expert", "expert"],
        "all": ["self", "guided", "expert", "self"],
    }
    for path in (tmp_path / "grid").iterdir():
        assert [row["id"] for row in read(path)] == ["a", "b", "c", "d"]
        assert [record_error(row) for row in read(path)] == [None] * 4
    assert read(tmp_path / "grid" / "all.jsonl") == ROWS, "rows that are kept must not change"


def test_a_dropped_row_becomes_the_expert_with_its_own_ids_and_log_probs() -> None:
    row = expert_record(Record.from_row(ROWS[0])).as_row()
    assert row["messages"] == [
        {"role": "user", "content": "problem a"},
        {"role": "assistant", "content": "expert a"},
    ]
    assert (row["tier"], row["response_token_ids"], row["policy_logprobs"]) == (
        "expert",
        [1, 2, 3, 4, 5, 6],
        [-1.5] * 6,
    )
    assert row["behavior_logprobs"] is None
    assert row["attempts"]["self"] == {"sampled": 2, "correct": 1, "wrong": 1}
    assert (row["attempts"]["expert_overlap"], row["attempts"]["near_copy"]) == (None, None)
    provenance = row["provenance"]
    assert (provenance["behavior"], provenance["behavior_prompt"], provenance["replaced_tier"]) == (None, None, "self")
    assert row["subject"] == "sums"


@pytest.mark.parametrize(
    ("logged_ids", "behavior", "name"), [([1, 2], [-0.1, -0.2], "logged"), ([9, 9], None, None), (None, None, None)]
)
def test_logged_expert_log_probs_come_back_only_for_the_same_ids(
    logged_ids: list[int] | None, behavior: list[float] | None, name: str | None
) -> None:
    extra = {"input.response_token_ids": logged_ids, "input.behavior_logprobs": [-0.1, -0.2]}
    row = expert_record(Record.from_row(record("a", "self", [5], [1, 2], **extra))).as_row()
    assert row["behavior_logprobs"] == behavior
    assert row["provenance"]["behavior"] == name
    assert record_error(row) is None


def test_rows_without_their_experts_log_probs_are_in_no_file(tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", [*ROWS, record("long", "self", [1])])
    code, output = run(path, "-o", tmp_path / "grid")
    assert code == 0, output
    assert "1 of 5 rows have no log-probs of their expert (too long for the context) and are in no file." in output
    for cell in (tmp_path / "grid").iterdir():
        assert [row["id"] for row in read(cell)] == ["a", "b", "c", "d"]


def test_a_file_with_every_stage_needs_no_expert_log_probs(tmp_path: Path) -> None:
    rows = [record("a", "self", [1]), record("b", "guided", [2, 3]), record("c", "expert", [4])]
    path = write(tmp_path / "out.jsonl", rows)
    assert run(path, "-o", tmp_path / "grid", "--tiers", "all")[0] == 0
    assert read(tmp_path / "grid" / "all.jsonl") == rows


def test_token_counts_by_hand(rewritten: Path, tmp_path: Path) -> None:
    _, output = run(rewritten, "-o", tmp_path / "grid", "--json")
    summary = json.loads(output)
    assert (summary["rows"], summary["unmatched"]) == (4, 0)
    # expert: 6+5+4+3; self: 2+5+4+1; guided: 6+3+4+3; all: 2+3+4+1.
    assert {one["name"]: one["tokens"] for one in summary["files"]} == {
        "expert": 18,
        "self+expert": 12,
        "guided+expert": 16,
        "all": 10,
    }
    for one in summary["files"]:
        assert one["tokens"] == sum(len(row["response_token_ids"]) for row in read(Path(one["path"])))


def lengths(row: RowLengths, stages: frozenset[str]) -> int:
    return row.tokens if row.tier in stages else row.expert_tokens or 0


def test_matched_tokens_come_within_a_row_of_the_smallest_file_and_repeat_with_the_seed() -> None:
    rows = [RowLengths("self", 5 + i % 7, 20 + i % 11) for i in range(300)] + [
        RowLengths("guided", 9, 12),
        RowLengths("expert", 30, 30),
    ]
    chosen = select(rows, GRID, match_tokens=True, seed=3)
    budget = min(one.tokens for one in select(rows, GRID))
    for one in chosen:
        left_out = [i for i in range(len(rows)) if i not in one.rows]
        shortest = min((lengths(rows[i], one.stages) for i in left_out), default=1)
        assert 0 <= budget - one.tokens < shortest, "one more row would have fitted, or too many were taken"
        assert one.tokens == sum(lengths(rows[i], one.stages) for i in one.rows)
    assert chosen == select(rows, GRID, match_tokens=True, seed=3)
    assert chosen != select(rows, GRID, match_tokens=True, seed=4)
    whole = next(one for one in chosen if one.stages == ALL)
    assert len(whole.rows) == len(rows), "the smallest file loses nothing"


def test_a_file_written_again_is_the_same_to_the_byte(rewritten: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert run(rewritten, "-o", tmp_path / folder, "--match-tokens", "--seed", 5)[0] == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def error_cases() -> list[tuple[str, list[dict[str, Any]], list[str], str]]:
    unscored = record("a", "self", [1, 2])
    return [
        (
            "no expert log-probs",
            [unscored],
            [],
            "{file}: no row has expert_token_ids and expert_logprobs, so none can fall back to the expert; "
            "add them with: mindgap-data score {file} --expert -o SCORED",
        ),
        (
            "duplicate id",
            [ROWS[0], ROWS[1], ROWS[0]],
            [],
            "{file}:3: field id: 'a' is the id of line 1 too; rows are matched by id, remove one",
        ),
        (
            "no record",
            [{"question": "1+1"}],
            [],
            "{file}:1: the row has no policy_logprobs; make the file with `mindgap-data rewrite`, or add them with "
            "`mindgap-data score`",
        ),
        (
            "torn expert log-probs",
            [record("a", "self", [1], [1, 2]) | {"expert_logprobs": [-1.0]}],
            [],
            "{file}:1: expert_logprobs has 1 values for 2 expert_token_ids; "
            "`mindgap-data validate {file}` lists every such row",
        ),
        (
            "unknown stage",
            ROWS,
            ["--tiers", "self,teacher"],
            "--tiers self,teacher: there is no stage teacher; name some of self, guided, expert, or all",
        ),
        ("empty file", [], [], "{file}: the file has no rows"),
    ]


@pytest.mark.parametrize(
    ("rows", "options", "message"), [c[1:] for c in error_cases()], ids=[c[0] for c in error_cases()]
)
def test_bad_input_is_one_line(tmp_path: Path, rows: list[dict[str, Any]], options: list[str], message: str) -> None:
    path = write(tmp_path / "in.jsonl", rows)
    code, output = run(path, "-o", tmp_path / "grid", *options)
    assert (code, output) == (2, "Error: " + message.format(file=path) + "\n")
    assert not (tmp_path / "grid").exists()


def test_existing_files_are_kept_unless_told_otherwise(rewritten: Path, tmp_path: Path) -> None:
    grid = tmp_path / "grid"
    grid.mkdir()
    (grid / "all.jsonl").write_text("mine")
    code, output = run(rewritten, "-o", grid)
    assert (code, output) == (
        2,
        f"Error: {grid}/all.jsonl: exists already; choose another -o, or replace it with --overwrite\n",
    )
    assert (grid / "all.jsonl").read_text() == "mine"
    assert run(rewritten, "-o", grid, "--overwrite")[0] == 0
    assert read(grid / "all.jsonl") == ROWS
