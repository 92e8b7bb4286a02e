"""What fine-tuning cost, end to end on tiny models, against log-probs computed straight from them."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.evaluation.texts import general_texts
from rewritten import prompt_ids, score
from tiny import save_tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model, a LoRA adapter on it, and another model with the same tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    root = tmp_path_factory.mktemp("models")
    base, other = (save_tiny_model(root / name, seed=seed) for seed, name in enumerate(("base", "other")))
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(root / "lora")
    return base, root / "lora", other


def run(*arguments):
    options = ("--engine", "transformers", "--quiet", "--workers", "1", "--samples", "1", "--max-tokens", "6")
    return CliRunner().invoke(main, ["forget", *map(str, arguments), *options])


@pytest.fixture(scope="module")
def scorecard(models, tmp_path_factory):
    base, lora, other = models
    folder = tmp_path_factory.mktemp("forget")
    tasks = folder / "sums.jsonl"
    rows = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(4)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = (lora, other, "--model", base, "-o", folder / "out", "--tasks", tasks)
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return folder / "out", json.loads(result.stdout), arguments


def test_the_nll_of_general_text_is_the_models_own(models, scorecard):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, _, other = models
    _, result, _ = scorecard
    tokenizer = AutoTokenizer.from_pretrained(base)
    means = []
    for folder in (base, other):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
        ids = [tokenizer(text.text, add_special_tokens=False)["input_ids"][:2048] for text in general_texts()]
        means.append(np.mean([-np.mean(score(model, row[:1], row[1:])) for row in ids]))
    text = result["after"][1]["text"]
    assert (text["before"], text["after"]) == pytest.approx(means, abs=1e-4)
    assert text["difference"]["estimate"] == pytest.approx(means[1] - means[0], abs=1e-4)
    assert set(text["registers"]) == {text.register for text in general_texts()}


def test_the_kl_is_that_of_the_recorded_draws(models, scorecard):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, _, other = models
    folder, result, _ = scorecard
    tokenizer = AutoTokenizer.from_pretrained(base)
    before, after = (AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval() for path in (base, other))
    total, tokens = 0.0, 0
    lines = (folder / "after-2" / "draws" / "generations.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        prompt = prompt_ids(tokenizer, row["messages"])
        for draw in row["draws"]:
            total += sum(score(after, prompt, draw["token_ids"])) - sum(score(before, prompt, draw["token_ids"]))
            tokens += len(draw["token_ids"])
    found = result["after"][1]["divergence"]
    assert (found["samples"], found["tokens"]) == (44, tokens)
    assert found["k1"]["estimate"] == pytest.approx(total / tokens, abs=1e-4)
    assert found["k3"]["estimate"] > 0.01


def test_each_policy_is_compared_on_instructions_and_tasks(models, scorecard):
    _, result, _ = scorecard
    assert [card["name"] for card in result["after"]] == [str(models[1]), str(models[2])]
    for card in result["after"]:
        assert [(task["name"], task["problems"]) for task in card["tasks"]] == [("instructions", 40), ("sums", 4)]
        assert len(card["in_words"]) == 3


def test_a_finished_run_is_shown_again_without_drawing(scorecard):
    folder, result, arguments = scorecard
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")} == stamps
    assert json.loads((folder / "scorecard.json").read_text()) == result
    assert re.search(r"general text, NLL per token\s+27\s", again.stdout)
    assert "General text: " in again.stdout


def test_a_model_with_another_tokenizer_is_refused(models, tmp_path):
    alien = save_tiny_model(tmp_path / "alien")
    path = alien / "tokenizer.json"
    path.write_text(path.read_text().replace('"Ā"', '"Zz"'))
    result = run(alien, "--model", models[0], "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert re.fullmatch(
        rf"Error: {alien}: its tokenizer is sha256:\w+, that of {models[0]} is sha256:\w+: their log-probs per token "
        r"cannot be compared\n",
        result.stderr,
    )


def test_the_harness_is_asked_for_by_name_where_it_is_missing(models, tmp_path, monkeypatch):
    monkeypatch.setattr("mindgap_data.evaluation.harness.find_spec", lambda name: None)
    result = run(models[1], "--model", models[0], "-o", tmp_path / "out", "--lm-eval", "ifeval")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: --lm-eval: lm-evaluation-harness is not installed; run: pip install 'lm-eval[hf]'\n",
    )
