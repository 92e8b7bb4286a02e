"""The record: what is one, what is not, and fingerprints that move when they should."""

import json
import math
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mindgap_data
from good_record import record
from mindgap_data.record import (
    alignment_error,
    content_id,
    decoding_error,
    json_schema,
    record_error,
    template_fingerprint,
    tokenizer_fingerprint,
)


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


ALIGNMENT = [
    ([1, 2], [-1.0, -2.0], [-1.0, -2.0], "self", None),
    ([1, 2], None, [-1.0, -2.0], "expert", None),
    ([1, 2], [-1.0, -2.0], None, "guided", None),
    ([1, 2], [-1.0, -2.0], [0.0, 0.0001], "self", None),
    ([1, 2], [-1.0], [-1.0, -2.0], "self", "behavior_logprobs has 1 values for 2 response_token_ids"),
    ([1, 2], [-1.0] * 3, [-1.0, -2.0], "expert", "behavior_logprobs has 3 values for 2 response_token_ids"),
    ([1], [-1.0], [], "self", "policy_logprobs has 0 values for 1 response_token_ids"),
    ([1], [0.2], [-1.0], "self", "behavior_logprobs[0] is 0.2, not a log-probability"),
    ([1, 2], [-1.0, -1.0], [-1.0, math.nan], "self", "policy_logprobs[1] is nan, not a log-probability"),
    ([1], [-math.inf], [-1.0], "self", "behavior_logprobs[0] is -inf, not a log-probability"),
    ([1], None, [-1.0], "self", "behavior_logprobs is null in a self row"),
    ([1], None, [-1.0], "guided", "behavior_logprobs is null in a guided row"),
    ([-1], [-1.0], [-1.0], "self", "response_token_ids holds a negative id"),
]


@pytest.mark.parametrize(("ids", "behavior", "policy", "tier", "error"), ALIGNMENT)
def test_alignment_error(ids, behavior, policy, tier, error):
    assert alignment_error(ids, behavior, policy, tier) == error


def spell(ids):
    return "".join(chr(i) for i in ids)


@pytest.mark.parametrize(
    ("ids", "content", "error"),
    [
        ([104, 105, 0], "hi", None),
        ([104, 105], "hi", None),
        ([0], "", None),
        (
            [104, 105, 0, 0],
            "hi",
            "response_token_ids decode to another text than the last message, from character 2 on",
        ),
        ([104, 111, 0], "hi", "response_token_ids decode to another text than the last message, from character 1 on"),
        ([104, 0], "hi", "response_token_ids decode to another text than the last message, from character 1 on"),
        ([104, 0, 105], "hi", "response_token_ids decode to another text than the last message, from character 1 on"),
        ([], "hi", "response_token_ids decode to another text than the last message, from character 0 on"),
    ],
)
def test_decoding_error(ids, content, error):
    assert decoding_error(ids, content, None, Speller()) == error


class Speller:
    """Ids are character codes, 0 ends the turn; a thought stands before a bar."""

    vocabulary = 128

    def turn(self, ids):
        thought, bar, text = spell(ids[:-1] if ids and ids[-1] == 0 else ids).rpartition("|")
        return {"content": text, **({"reasoning_content": thought} if bar else {})}


def test_a_thought_is_compared_too():
    ids = [104, 109, 124, 52, 0]
    assert decoding_error(ids, "4", "hm", Speller()) is None
    assert decoding_error(ids, "4", None, Speller()) == (
        "response_token_ids decode to another reasoning_content than the last message's, from character 0 on"
    )


def small_tokenizer(words, **special):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def test_tokenizer_fingerprint_moves_with_the_vocabulary_only():
    base = tokenizer_fingerprint(small_tokenizer(["a", "b", "c"]))
    assert base == tokenizer_fingerprint(small_tokenizer(["a", "b", "c"]))
    padded = small_tokenizer(["a", "b", "c"], padding_side="left")
    padded.pad_token = "c"
    assert tokenizer_fingerprint(padded) == base
    assert tokenizer_fingerprint(small_tokenizer(["a", "c", "b"])) != base
    assert tokenizer_fingerprint(small_tokenizer(["a", "b", "c"], pad_token="<pad>")) != base


def test_template_fingerprint_is_the_same_where_the_rendering_is():
    assert template_fingerprint("{{ x }}\n") == template_fingerprint("{{ x }}") == "sha256:e52c737297f7dad6"
    assert (
        template_fingerprint("{{ x }}", {}) == template_fingerprint("{{ x }}", {"a": None}) == "sha256:e52c737297f7dad6"
    )
    others = ["{{  x }}", "{{ x }}\n\n", "\n{{ x }}", "{{ x }} "]
    assert len({template_fingerprint(other) for other in ["{{ x }}", *others]}) == 5
    switched = {template_fingerprint("{{ x }}", {"enable_thinking": value}) for value in (True, False)}
    assert len({"sha256:e52c737297f7dad6", *switched}) == 3


@given(st.dictionaries(st.sampled_from(["role", "content", "name"]), st.text(), min_size=1), st.text())
def test_content_id_is_a_function_of_prompt_and_reference_alone(turn, reference):
    key = content_id([turn], reference)
    assert key == content_id([dict(reversed(list(turn.items())))], reference)
    assert key != content_id([turn], reference + "x")
    assert len(key) == 24
