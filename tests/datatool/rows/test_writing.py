"""The one writer of records: what contradicts itself never reaches the file."""

import json
from pathlib import Path

import pytest

from characters import Characters
from good_record import record
from mindgap_data.errors import UserError
from mindgap_data.record import Record
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import JsonlWriter, RecordWriter

GOOD = record(response_token_ids=[ord("4"), 0])
WRONG = [
    ({"behavior_logprobs": [-0.5]}, "behavior_logprobs has 1 values for 2 response_token_ids"),
    ({"policy_logprobs": [-0.5, 0.5]}, "policy_logprobs[1] is 0.5, not a log-probability"),
    ({"behavior_logprobs": None}, "behavior_logprobs is null in a self row"),
    ({"response_token_ids": [-1, 0]}, "response_token_ids holds a negative id"),
    (
        {"expert_token_ids": [1], "expert_logprobs": [-1.0, -1.0]},
        "expert_logprobs has 2 values for 1 expert_token_ids",
    ),
    (
        {"response_token_ids": [ord("5"), 0]},
        "response_token_ids decode to another text than the last message, from character 0 on",
    ),
]


@pytest.mark.parametrize(("change", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_a_record_that_contradicts_itself_is_refused_and_the_next_is_written(tmp_path: Path, change, reason) -> None:
    with RecordWriter(tmp_path / "out.jsonl", Characters()) as writer:
        with pytest.raises(RowError) as refused:
            writer.write(Record.model_validate({**GOOD, **change}))
        writer.write(Record.model_validate(GOOD))
        writer.finish()
    assert str(refused.value) == f"ids, log-probs and text do not agree: {reason}"
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [GOOD]


def test_a_record_is_written_as_it_was_read_with_its_optional_fields_last(tmp_path: Path) -> None:
    row = {**GOOD, "source": {"deep": [1, None]}, "expert_token_ids": [57, 0], "expert_logprobs": [-2.0, -3.0]}
    with RecordWriter(tmp_path / "out.jsonl") as writer:
        writer.write(Record.from_row(row))
        writer.finish()
    written = json.loads((tmp_path / "out.jsonl").read_text())
    assert written == row
    assert list(written)[-3:] == ["source", "expert_token_ids", "expert_logprobs"]


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(UserError) as refused, JsonlWriter(Path("/dev/null")):
        pass
    assert refused.value.message == "/dev/null: not a regular file; choose another output"
    assert Path("/dev/null").is_char_device()
