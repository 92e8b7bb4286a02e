"""Measures an arm: outcomes on fresh problems, NLL and KL on fixed texts."""

import json
from pathlib import Path
from typing import Any

from recipes.headline.arms import call
from recipes.headline.plan import Plan

from mindgap_data.evaluation.accuracy import OUTCOMES
from mindgap_data.rows.reading import read_rows

GENERAL = Path(__file__).parent / "data" / "general.jsonl"
# An outcome of a draw as one letter: correct, wrong, no answer, truncated, checker error, failed.
LETTERS = dict(zip(OUTCOMES, "cwntef", strict=True))
OWN = 12  # responses of the base model that KL is measured on


def evaluate(
    plan: Plan, model: str, adapter: Path | None, problems: list[Path], folder: Path, *, samples: int = 0
) -> dict[str, dict[str, str]]:
    """Outcomes of `mindgap-data evaluate`: file -> problem -> a letter a draw; ``samples`` 0 is greedy."""
    policy = ["--model", model, *(["--adapter", adapter] if adapter else []), "--engine", "transformers"]
    drawing = ["--temperature", plan.temperature, "--samples", samples] if samples else ["--temperature", 0]
    settings = ["--max-tokens", plan.max_tokens, "--batch-size", plan.batch_size, "--workers", 1]
    call("evaluate", *problems, "-o", folder, *policy, *drawing, *settings, "--verifier", "numeric", "--overwrite")
    found: dict[str, dict[str, str]] = {}
    for _, row in read_rows(folder / "generations.jsonl"):
        outcomes = "".join(LETTERS[draw["outcome"]] for draw in row["draws"])
        found.setdefault(row["benchmark"], {})[row["id"]] = outcomes
    return found


def texts(model: str, generations: Path) -> list[tuple[str, list[int], int]]:
    """What NLL and KL are measured on: (name, ids, where measuring starts).

    Fixed general texts, and responses the base model itself sampled (``generations``) behind their prompts.
    """
    from mindgap_data.policy.models import ModelSpec, load_tokenizer

    tokenizer = load_tokenizer(ModelSpec(model=model))
    found = [
        (row["register"], tokenizer.hf(row["text"], add_special_tokens=False)["input_ids"], 1)
        for _, row in read_rows(GENERAL)
    ]
    for _, row in read_rows(generations):
        if len(found) == OWN + sum(1 for _ in read_rows(GENERAL)):
            break
        if row["draws"][0]["outcome"] in ("truncated", "failed"):
            continue
        prompt = list(tokenizer.prompt_ids(row["messages"]))
        found.append(("own", prompt + list(tokenizer.response_ids(row["draws"][0]["text"])), len(prompt)))
    return found


def distances(
    model: str, adapter: Path | None, texts: list[tuple[str, list[int], int]], base: Path
) -> list[dict[str, Any]]:
    """By text: tokens, summed NLL (nats), and summed KL(base || policy) over the whole vocabulary.

    The base model's own distributions are kept in ``base`` the first time (``adapter`` None).
    """
    import torch

    from mindgap_data.policy.models import ModelSpec, load_model

    policy = load_model(ModelSpec(model=model, adapter=str(adapter) if adapter else None))
    kept = torch.load(base) if base.exists() else []
    found, own = [], []
    for index, (name, ids, start) in enumerate(texts):
        with torch.inference_mode():
            logits = policy(input_ids=torch.tensor([ids], device=policy.device)).logits[0, start - 1 : -1]
        logprobs = logits.float().log_softmax(-1).cpu()
        reference = kept[index] if kept else logprobs
        own.append(logprobs)
        nll = -logprobs.gather(1, torch.tensor(ids[start:])[:, None]).double().sum()
        kl = (reference.exp() * (reference - logprobs)).double().sum()
        found.append({"text": name, "tokens": len(ids) - start, "nll": round(float(nll), 4), "kl": round(float(kl), 5)})
    if not kept:
        torch.save(own, base)
    return found


def training_figures(log: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The trainer's weight metrics by tier, mean over its logs, each log weighted by its tokens; raw weights."""
    sums: dict[str, dict[str, float]] = {}
    for entry in log:
        for tier in ("self", "guided", "expert", "all"):
            tokens = entry.get(f"mindgap/{tier}/tokens")
            if not tokens:
                continue
            tally = sums.setdefault(tier, {"tokens": 0.0})
            tally["tokens"] += tokens
            for name in ("ess", "k1", "k3", "nll", "weight_mean"):
                value = entry.get(f"mindgap/{tier}/{name}")
                if value is not None:
                    tally[name] = tally.get(name, 0.0) + tokens * value
    return {
        tier: {name: value if name == "tokens" else value / tally["tokens"] for name, value in tally.items()}
        for tier, tally in sums.items()
    }


def read_json(path: Path) -> Any:
    """A result that :func:`recipes.headline.arms.write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))
