"""A good record for tests of what goes wrong with one."""

from typing import Any


def record(**changes: Any) -> dict[str, Any]:
    """A self-tier row of two tokens, with ``changes`` laid over it."""
    row = {
        "id": "r1",
        "messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}],
        "tier": "self",
        "response_token_ids": [52, 258],
        "behavior_logprobs": [-0.5, -0.25],
        "policy_logprobs": [-0.5, 0.0],
        "answer": "4",
        "expert": "It is \\boxed{4}.",
        "attempts": {"self": {"sampled": 1, "correct": 1}, "pass_rate": 1.0},
        "provenance": {
            "tool_version": "0.1.0",
            "model": "tiny",
            "engine": "transformers",
            "tokenizer": "sha256:0",
            "chat_template": "sha256:0",
            "sampling": {"temperature": 1.0},
            "behavior": "model",
            "behavior_prompt": "plain",
            "selection": "first",
            "verifier": "math",
            "seed": 0,
        },
    }
    return {**row, **changes}
