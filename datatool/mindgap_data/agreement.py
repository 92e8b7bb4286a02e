"""Whether a row's ids, log-probs and text agree; each check gives the fault in one line, or None."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

# float32 log-probs of a near-certain token come out a rounding error above 0.
LOGPROB_SLACK = 1e-4


class Decoder(Protocol):
    """What the agreement of ids and text is checked with: the policy's tokenizer."""

    @property
    def vocabulary(self) -> int:
        """Number of ids."""

    def turn(self, ids: Sequence[int]) -> Mapping[str, str]:
        """A response as the assistant's turn: ``content`` and, where it has a thought, ``reasoning_content``."""


def is_logprob(value: float) -> bool:
    """Whether it is finite and at most 0, with float32 slack."""
    return math.isfinite(value) and value <= LOGPROB_SLACK


def alignment_error(
    response_token_ids: Sequence[int],
    behavior_logprobs: Sequence[float] | None,
    policy_logprobs: Sequence[float] | None,
    tier: str,
) -> str | None:
    """Why ids and log-probs of a row do not fit together, or None when they do.

    Checks lengths, that every log-prob is finite and at most 0 (with float32 slack), and that a row
    the model wrote has behaviour log-probs.
    """
    n = len(response_token_ids)
    for name, logprobs in (("behavior_logprobs", behavior_logprobs), ("policy_logprobs", policy_logprobs)):
        if logprobs is None:
            continue
        if len(logprobs) != n:
            return f"{name} has {len(logprobs)} values for {n} response_token_ids"
        # The sum of a list is finite only where every value is.
        if max(logprobs, default=0.0) <= LOGPROB_SLACK and math.isfinite(sum(logprobs)):
            continue
        for position, value in enumerate(logprobs):
            if not is_logprob(value):
                return f"{name}[{position}] is {value}, not a log-probability"
    if behavior_logprobs is None and tier != "expert":
        return f"behavior_logprobs is null in a {tier} row"
    if min(response_token_ids, default=0) < 0:
        return "response_token_ids holds a negative id"
    return None


def vocabulary_error(response_token_ids: Sequence[int], vocabulary: int) -> str | None:
    """Why the ids cannot be a model's with ``vocabulary`` ids, or None."""
    beyond = next((token for token in response_token_ids if token >= vocabulary), None)
    return None if beyond is None else f"response_token_ids: {beyond} is not in the vocabulary of {vocabulary}"


def decoding_error(
    response_token_ids: Sequence[int], content: str, thought: str | None, decoder: Decoder
) -> str | None:
    """Why the ids do not decode to the assistant's turn, its text and its thought, or None."""
    turn = decoder.turn(response_token_ids)
    for what, found, wanted in (
        ("text than the last message", turn["content"], content),
        ("reasoning_content than the last message's", turn.get("reasoning_content") or "", thought or ""),
    ):
        if found != wanted:
            pairs = enumerate(zip(found, wanted, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(found), len(wanted)))
            return f"response_token_ids decode to another {what}, from character {at} on"
    return None
