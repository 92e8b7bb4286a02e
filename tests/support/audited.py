"""A row of a rewritten word problem, for the tests of audit and its rules."""

from typing import Any

PROBLEM = "Ann has 3 apples and buys 4 more. How many apples does she have?"
EXPERT = "Ann starts with 3 apples. She buys 4 more, so she has 3 + 4 = 7 apples. The answer is \\boxed{7}."
OWN = "We add what she has to what she buys: 3 + 4 = 7. So the answer is \\boxed{7}."


def record(key: str = "a", text: str = OWN, tier: str = "self", **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": key,
        "messages": [{"role": "user", "content": PROBLEM}, {"role": "assistant", "content": text}],
        "tier": tier,
        "response_token_ids": [1, 2, 3],
        "behavior_logprobs": None if tier == "expert" else [-0.5, -0.25, -0.125],
        "policy_logprobs": [-0.5, -0.25, -0.125],
        "answer": "7",
        "expert": EXPERT,
        "attempts": {},
        "provenance": {
            "schema_version": 1,
            "tool_version": "0.1.0",
            "model": "m",
            "engine": "transformers",
            "tokenizer": "t",
            "chat_template": "c",
            "sampling": {},
            "behavior": None if tier == "expert" else "model",
            "selection": "first",
            "verifier": "math",
            "seed": 0,
        },
    }
    return row | fields
