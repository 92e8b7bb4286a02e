"""A rewritten file for tests: rows sampled from and scored by a tiny model, as mindgap-data would record them."""

import json
from pathlib import Path
from typing import Any

# Tiers of a file, over and over.
TIERS = ("self", "self", "guided", "expert")


def write_rewritten(
    model_dir: Path, path: Path, count: int = 16, seed: int = 0, **provenance: Any
) -> list[dict[str, Any]]:
    """Write ``count`` records whose log-probs are those of the model in ``model_dir``; returns them.

    self rows are sampled from the plain prompt, guided ones from a longer prompt and scored under both, expert ones
    are text of the test's own.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    rows = []
    for index in range(count):
        tier = TIERS[index % len(TIERS)]
        question = [{"role": "user", "content": f"What is {index} + {index * 7 % 5}?"}]
        expert = f"It is {index + index * 7 % 5}, since {index} and {index * 7 % 5} make that. " + "So. " * (index % 4)
        guided = [{"role": "user", "content": question[0]["content"] + " A solution: " + expert}]
        plain_ids, guided_ids = (prompt_ids(tokenizer, messages) for messages in (question, guided))
        if tier == "expert":
            ids = [*tokenizer(expert, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        else:
            ids = draw(
                model, guided_ids if tier == "guided" else plain_ids, 12 + 5 * (index % 6), tokenizer.eos_token_id
            )
        policy = score(model, plain_ids, ids)
        behavior = {"self": policy, "guided": score(model, guided_ids, ids), "expert": None}[tier]
        text = tokenizer.decode(ids[:-1]) if ids[-1] == tokenizer.eos_token_id else tokenizer.decode(ids)
        rows.append(
            {
                "id": f"q{index}",
                "messages": [*question, {"role": "assistant", "content": text}],
                "tier": tier,
                "response_token_ids": ids,
                "behavior_logprobs": behavior,
                "policy_logprobs": policy,
                "answer": str(index + index * 7 % 5),
                "expert": expert,
                "attempts": {
                    "self": {"sampled": 1, "correct": int(tier == "self")},
                    "pass_rate": float(tier == "self"),
                },
                "provenance": {**provenance_of(model_dir, tokenizer, tier, seed), **provenance},
            }
        )
    write_rows(path, rows)
    return rows


def provenance_of(model_dir: Path, tokenizer: Any, tier: str, seed: int) -> dict[str, Any]:
    """What such a row says of itself."""
    from mindgap_data.fingerprints import template_fingerprint, tokenizer_fingerprint

    return {
        "tool_version": "0.1.0",
        "model": str(model_dir),
        "engine": "transformers",
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "chat_template": template_fingerprint(tokenizer.chat_template),
        "sampling": {"temperature": 1.0},
        "behavior": None if tier == "expert" else "model",
        "selection": "first",
        "verifier": "none",
        "seed": seed,
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON object a line (NaN allowed: some tests need it)."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prompt_ids(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    """Ids of the conversation and the assistant's header."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def draw(model: Any, prompt: list[int], length: int, end: int) -> list[int]:
    """``length`` tokens drawn at temperature 1, then the end of the turn."""
    import torch

    ids: list[int] = []
    with torch.no_grad():
        for _ in range(length):
            probs = model(torch.tensor([prompt + ids])).logits[0, -1].softmax(-1)
            ids.append(int(torch.multinomial(probs, 1)))
    return [*ids, end]


def score(model: Any, prompt: list[int], response: list[int]) -> list[float]:
    """log pi of each response token, by the plain formula."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([prompt + response])).logits[0].double().log_softmax(-1)
    return [min(0.0, float(logits[len(prompt) + i - 1, token])) for i, token in enumerate(response)]
