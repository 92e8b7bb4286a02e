"""JSON against a schema or a value."""

import json
from pathlib import Path
from typing import Any

import pytest

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.schema import JsonVerifier

CORRECT, WRONG, NO_ANSWER, ERROR = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.CHECKER_ERROR
PERSON = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        ('{"age": 5}', CORRECT),
        ('Here:\n```json\n{"age": 5}\n```\n', CORRECT),
        ('```json\n{"age": 5}\n```\nNo:\n```json\n{"age": "5"}\n```', WRONG),  # the last block
        ('{"age": "5"}', WRONG),
        ('{"age": 5', WRONG),
        ('{"age": 5, "age": 6}', WRONG),
        ('{"age": NaN}', WRONG),
        ("[" * 100_000, WRONG),
        ('<think>{"age": 5}</think>{}', WRONG),
        ("She is five.", NO_ANSWER),
        ("", NO_ANSWER),
    ],
)
def test_against_a_schema(response: str, verdict: Verdict) -> None:
    assert JsonVerifier()(response, "", {"schema": PERSON}) is verdict
    assert JsonVerifier()(response, "", {"schema": json.dumps(PERSON)}) is verdict
    assert JsonVerifier(schema=PERSON)(response, "", {}) is verdict


@pytest.mark.parametrize(
    ("response", "answer", "verdict"),
    [
        ('{"a": [1, 2]}', '{"a": [1.0, 2]}', CORRECT),
        ('{"a": true}', '{"a": 1}', WRONG),
        ('{"a": [2, 1]}', '{"a": [1, 2]}', WRONG),
        ("{}", "not json", ERROR),
    ],
)
def test_against_the_reference(response: str, answer: str, verdict: Verdict) -> None:
    assert JsonVerifier()(response, answer, {}) is verdict


@pytest.mark.parametrize("schema", [{"type": 5}, 5, "{", {"$ref": "http://127.0.0.1:9/s"}, {"pattern": "("}])
def test_an_unusable_schema_is_a_checker_error(schema: Any) -> None:
    assert JsonVerifier()('"x"', "", {"schema": schema}) is ERROR


def test_schema_option_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "person.json"
    path.write_text(json.dumps(PERSON))
    assert JsonVerifier(schema=str(path))('{"age": 5}', "", {}) is CORRECT
    with pytest.raises(UserError) as error:
        JsonVerifier(schema=str(tmp_path / "none.json"))
    assert error.value.message == (
        f"verifier 'json': option schema: {tmp_path}/none.json: cannot be read: No such file or directory"
    )
    with pytest.raises(UserError) as error:
        JsonVerifier(schema={"type": 5})
    assert error.value.message == "verifier 'json': option schema: this is not a JSON Schema"
