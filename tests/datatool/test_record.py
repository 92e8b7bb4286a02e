"""The record: what is one, and what is not."""

import json
from pathlib import Path

import jsonschema
import pytest

import mindgap_data
from good_record import record
from mindgap_data.record import json_schema, record_error


def test_shipped_schema_is_the_models():
    shipped = Path(mindgap_data.__file__).with_name("record.schema.json")
    assert json.loads(shipped.read_text()) == json_schema(), (
        "regenerate: python -c 'import json; from mindgap_data.record import json_schema; "
        f"print(json.dumps(json_schema(), indent=2))' > {shipped.name}"
    )


def test_a_good_record_is_valid_for_us_and_for_the_schema():
    row = record(subject="kept", **{"input.answer": [1, 2]})
    assert record_error(row) is None
    jsonschema.validate(row, json_schema())


def without(field):
    row = record()
    del row[field]
    return row


INVALID = [
    (without("id"), "field id: field required"),
    (without("messages"), "field messages: field required"),
    (without("expert"), "field expert: field required"),
    (without("behavior_logprobs"), "field behavior_logprobs: field required"),
    (without("provenance"), "field provenance: field required"),
    (record(id=7), "field id: input should be a valid string"),
    (record(messages=[]), "field messages: list should have at least 1 item after validation, not 0"),
    (record(messages=[{"role": "user"}]), "field messages.0.content: field required"),
    (record(tier="teacher"), "field tier: input should be 'self', 'guided' or 'expert'"),
    (
        record(response_token_ids=[]),
        "field response_token_ids: list should have at least 1 item after validation, not 0",
    ),
    (record(response_token_ids=["52", 258]), "field response_token_ids.0: input should be a valid integer"),
    (record(response_token_ids=[52.5, 258]), "field response_token_ids.0: input should be a valid integer"),
    (record(policy_logprobs=None), "field policy_logprobs: input should be a valid list"),
    (record(policy_logprobs=["-1", -1]), "field policy_logprobs.0: input should be a valid number"),
    (
        record(attempts={"self": {"sampled": -1}}),
        "field attempts.self.sampled: input should be greater than or equal to 0",
    ),
    (record(attempts={"pass_rate": 1.5}), "field attempts.pass_rate: input should be less than or equal to 1"),
    (record(attempts={"drawn": 1}), "field attempts.drawn: extra inputs are not permitted"),
]


@pytest.mark.parametrize(("row", "error"), INVALID, ids=[error for _, error in INVALID])
def test_a_bad_field_is_named_and_the_schema_agrees(row, error):
    assert record_error(row) == error
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(row, json_schema())


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (
            record(messages=record()["messages"][:1]),
            "field messages: the last turn is 'user', not the assistant's response",
        ),
        (
            record(provenance={**record()["provenance"], "schema_version": 2}),
            "provenance.schema_version is 2; this mindgap reads version 1",
        ),
        (record(policy_logprobs=[-0.5]), "policy_logprobs has 1 values for 2 response_token_ids"),
        (
            record(expert_token_ids=[1, 2], expert_logprobs=[-1.0]),
            "expert_logprobs has 1 values for 2 expert_token_ids",
        ),
        (record(expert_logprobs=[-1.0]), "expert_logprobs has 1 values for 0 expert_token_ids"),
        (
            record(expert_token_ids=[1], expert_logprobs=[2.0]),
            "expert_logprobs holds a value that is not a log-probability",
        ),
    ],
)
def test_fields_that_do_not_fit_together(row, error):
    assert record_error(row) == error
