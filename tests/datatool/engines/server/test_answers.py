"""The two shapes of log-probs; llama.cpp's as its server really answered (tests/data/llama_cpp)."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from openai.types import Completion

from mindgap_data.engines.server.answers import Choice, read_choice
from misbehaving import completion

DATA = Path(__file__).parents[3] / "data" / "llama_cpp"


def recorded(name: str) -> tuple[dict[str, Any], Choice]:
    """The entries of a recorded answer by our own reading, and what the parser makes of it."""
    answer = json.loads((DATA / f"{name}.json").read_text())["answer"]
    choice = read_choice(Completion.construct(**answer))
    assert choice is not None
    return answer, choice


def test_llama_cpp_gives_ids_and_log_probs_with_the_end_of_the_turn() -> None:
    answer, choice = recorded("end_of_turn")
    entries = answer["choices"][0]["logprobs"]["content"]
    assert choice.token_ids == tuple(entry["id"] for entry in entries)
    assert choice.token_ids[-1] == 2  # <|im_end|>
    assert choice.logprobs == tuple(entry["logprob"] for entry in entries)
    assert choice.top == tuple(entry["top_logprobs"][0]["logprob"] for entry in entries)
    assert (choice.finish, choice.left_out, choice.shape) == ("stop", 0, "content")
    assert choice.prompt_tokens == len(json.loads((DATA / "end_of_turn.json").read_text())["request"]["prompt"])


def test_llama_cpp_after_sampling_gives_probabilities() -> None:
    answer, choice = recorded("post_sampling")
    entries = answer["choices"][0]["logprobs"]["content"]
    assert choice.logprobs == tuple(math.log(entry["prob"]) for entry in entries)
    assert choice.top == tuple(math.log(entry["top_probs"][0]["prob"]) for entry in entries)


def test_llama_cpp_leaves_out_tokens_inside_a_character() -> None:
    """An emoji of three tokens: ten are drawn, eight come back, and the record could not be exact."""
    answer, choice = recorded("split_character")
    assert len(choice.tokens) == 8
    assert answer["usage"]["completion_tokens"] == 10
    assert choice.left_out == 2


def test_lists_with_ids_beside_them_or_in_the_tokens() -> None:
    beside = read_choice(Completion.construct(**completion(["a", "b"], token_ids=[7, 8])[1]))
    named = read_choice(Completion.construct(**completion(["token_id:7", "token_id:8"])[1]))
    assert beside is not None
    assert named is not None
    assert beside.token_ids == named.token_ids == (7, 8)
    assert beside.logprobs == (-0.5, -0.5)


BROKEN = [
    {"choices": []},
    {"choices": [{"text": None, "logprobs": None}]},
    {"choices": [{"text": "a", "logprobs": {"content": [{"id": 1, "token": "a"}]}}]},
    {"choices": [{"text": "a", "logprobs": {"content": ["a"]}}]},
    {"choices": [{"text": "a", "logprobs": {"content": [{"id": 1, "token": "a", "logprob": "low"}]}}]},
    {"choices": [{"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": []}}]},
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_completion_is_none(body: dict[str, Any]) -> None:
    assert read_choice(Completion.construct(**body)) is None
