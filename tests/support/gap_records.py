"""Records with given log-probs, for the tests of gap and report."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

PROVENANCE = {
    "schema_version": 1,
    "tool_version": "0.1.0",
    "model": "tiny",
    "revision": "r1",
    "adapter": None,
    "engine": "transformers",
    "tokenizer": "sha256:aa",
    "chat_template": "sha256:bb",
    "sampling": {"temperature": 1.0},
    "selection": "first",
    "verifier": "math",
    "seed": 0,
}


def make_record(
    tier: str,
    policy: Sequence[float],
    behavior: Sequence[float] | None = None,
    expert: Sequence[float] | None = None,
    *,
    id: str = "p",
    problem: str = "What is 2 + 3?",
    response: str = "It is 5.",
    demonstration: str = "2 + 3 = 5.",
    attempts: dict[str, Any] | None = None,
    **provenance: Any,
) -> dict[str, Any]:
    """A valid record; ``expert`` becomes expert_logprobs."""
    row = {
        "id": id,
        "messages": [{"role": "user", "content": problem}, {"role": "assistant", "content": response}],
        "tier": tier,
        "response_token_ids": list(range(1, len(policy) + 1)),
        "behavior_logprobs": None if behavior is None else list(behavior),
        "policy_logprobs": list(policy),
        "answer": "5",
        "expert": demonstration,
        "attempts": attempts or {"self": {"sampled": 4, "correct": 1, "wrong": 3}, "pass_rate": 0.25},
        "provenance": PROVENANCE | provenance,
    }
    if expert is not None:
        row |= {"expert_token_ids": list(range(1, len(expert) + 1)), "expert_logprobs": list(expert)}
    return row


def write_records(path: Path, rows: Iterable[Any]) -> Path:
    """Write rows (strings as they are) as JSONL."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
