"""The code that the pages show runs: the training loop, the verifier of your own, and every recipe."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from transformers import AutoModelForCausalLM

from mindgap_axolotl.args import MindGapOptions
from mindgap_data.commands import main
from tiny import save_tiny_model

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def test_training_loop(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(save_tiny_model(tmp_path))
    ids = torch.arange(12).reshape(2, 6)
    trained = torch.tensor([[False, False, True, True, True], [False, True, True, True, False]])
    count = int(trained.sum())
    given = {
        "model": model,
        "ids": ids,
        "mask": torch.ones_like(ids),
        "trained": trained,
        "tier": torch.zeros(count, dtype=torch.long),
        "behavior": torch.full((count,), -5.0),
        "policy": torch.full((count,), -5.0),
        "sample": torch.tensor([0, 0, 0, 1, 1, 1]),
        "tokens_in_global_batch": count,
    }
    (block,) = blocks(DOCS / "loss.md", "python")
    exec(block, given)
    log_probs = model(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0][trained].double()
    expected = ((log_probs + 5).exp().clamp(max=2) * -log_probs).sum() / count
    assert given["output"].loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.lm_head.weight.grad is not None


def test_verifier_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(DOCS / "verifiers.md", "python")
    (tmp_path / "palindromes.py").write_text(block)
    rows = [("noon", "4"), ("Noon", "5"), ("night", "3"), ("123", "3")]
    (tmp_path / "responses.jsonl").write_text(
        "".join(json.dumps({"response": response, "answer": answer}) + "\n" for response, answer in rows)
    )
    monkeypatch.chdir(tmp_path)
    command = ["verify", "responses.jsonl", "--verifier", "palindromes:palindrome", "-o", "verdicts.jsonl"]
    assert CliRunner().invoke(main, command).exit_code == 0
    verdicts = [json.loads(line)["verdict"] for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert verdicts == ["correct", "wrong", "wrong", "no_answer"]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=lambda page: page.name)
def test_options_in_recipes(page: Path) -> None:
    for block in blocks(page, "yaml"):
        recipe = yaml.safe_load(block)
        MindGapOptions.model_validate(recipe.get("mindgap") or {})
