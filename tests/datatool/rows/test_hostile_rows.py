"""No row, whatever it holds, ends a run: what cannot be used raises RowError or UserError, nothing else."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.record import Record, record_error
from mindgap_data.rewrite.records import expert_ids
from mindgap_data.rows.problem import to_problem
from mindgap_data.rows.reading import read_raw_rows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.run.job import FailedRow, _write_failed
from tiny import save_tiny_model

# What JSON can hold, lone surrogates, huge numbers and deep nesting included.
TEXT = st.text(st.characters(codec=None), max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "gpt"]) | VALUES, "content": TEXT | VALUES},
    optional={"tool_calls": VALUES, "name": VALUES, "reasoning_content": VALUES},
)
COLUMNS = {
    "id": VALUES,
    "messages": st.lists(TURN, max_size=4) | VALUES,
    "problem": VALUES,
    "solution": st.just("It is \\boxed{4}.") | VALUES,
    "answer": VALUES,
    "expert": VALUES,
    "tier": st.sampled_from(["self", "guided", "expert"]) | VALUES,
    "response_token_ids": st.lists(st.integers(0, 2**40), max_size=4) | VALUES,
    "behavior_logprobs": st.lists(st.just(-0.5), max_size=4) | VALUES,
    "verifier": VALUES,
    "provenance": VALUES,
    "tools": st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=2) | VALUES,
}
ROWS = st.fixed_dictionaries({}, optional=COLUMNS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    return load_tokenizer(ModelSpec(str(save_tiny_model(tmp_path_factory.mktemp("tiny")))))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=ROWS)
def test_a_row_becomes_a_problem_or_is_refused(tokenizer: ChatTokenizer, row: dict) -> None:
    try:
        problem = to_problem(row, Fields())
        tokenizer.prompt_ids(problem.messages, problem.tools)
        ids = expert_ids(problem, tokenizer)
    except (RowError, UserError):
        return
    assert all(0 <= token < tokenizer.vocabulary for token in ids)
    problem.id.encode()
    assert tokenizer.response_text(ids) == problem.expert or problem.expert_token_ids is None


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(row=ROWS)
def test_a_record_is_read_or_its_fault_is_one_line(row: dict) -> None:
    fault = record_error(row)
    if fault is None:
        Record.from_row(row).as_row()
    else:
        assert "\n" not in fault


def test_a_lone_surrogate_in_an_id_fails_the_row() -> None:
    row = {"id": "a\ud800", "problem": "2 + 2?", "solution": "\\boxed{4}"}
    with pytest.raises(RowError) as error:
        to_problem(row, Fields())
    assert str(error.value) == "field id: half of a surrogate pair at character 1, not text"


@pytest.mark.parametrize("depth", [100, 900, 5_000])
def test_a_deeply_nested_row_reaches_the_failed_file(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"n": ' + "[" * depth + "]" * depth + "}\n")
    (raw,) = read_raw_rows(path)
    with JsonlWriter(tmp_path / "failed.jsonl") as writer:
        _write_failed(FailedRow(1, None, raw.error or "unusable", raw.row or raw.text), writer)
        writer.finish()
    (kept,) = [json.loads(line) for line in (tmp_path / "failed.jsonl").read_text().splitlines()]
    assert kept["reason"]


def test_bytes_that_are_not_utf8_are_kept_in_the_failed_file(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"problem": "caf\xe9"}\n')
    (raw,) = read_raw_rows(path)
    with JsonlWriter(tmp_path / "failed.jsonl") as writer:
        writer.write({"row": raw.text})
        writer.finish()
    kept = json.loads((tmp_path / "failed.jsonl").read_text())["row"]
    assert kept.encode("utf-8", "surrogateescape") == b'{"problem": "caf\xe9"}'
