"""Ids, log-probs and text that do not agree are named."""

import math

import pytest

from mindgap_data.agreement import alignment_error, decoding_error

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
