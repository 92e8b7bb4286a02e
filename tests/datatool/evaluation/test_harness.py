"""lm-evaluation-harness runs on both policies, and its documents are paired."""

import json

import pytest

from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.evaluation.forgetting_run import ForgettingRequest
from mindgap_data.evaluation.harness import harness_changes
from mindgap_data.policy.models import ModelSpec
from mindgap_data.verify.settings import VerifierSettings
from rewritten import score
from tiny import save_tiny_model

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")

TASK = """
task: sums
dataset_path: json
dataset_kwargs:
  data_files: {file}
test_split: train
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: choices
doc_to_target: gold
metric_list:
  - metric: acc
"""
DOCUMENTS = [{"q": f"{n} + {n} =", "choices": ["yes", "no", str(2 * n)], "gold": 2} for n in range(1, 9)]


def test_accuracy_by_the_harness_is_that_of_the_models_own_log_probs(tmp_path, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    documents, task = tmp_path / "documents.jsonl", tmp_path / "sums.yaml"
    documents.write_text("".join(json.dumps(row) + "\n" for row in DOCUMENTS))
    task.write_text(TASK.format(file=documents))
    before, after = (save_tiny_model(tmp_path / name, seed=seed) for seed, name in enumerate(("before", "after")))
    request = ForgettingRequest(
        before=Policy(ModelSpec(str(before)), EngineSettings()),
        after=(str(after),),
        benchmarks=(),
        samples=1,
        max_tokens=1,
        seed=0,
        verifier=VerifierSettings(),
        folder=tmp_path,
    )
    (line,) = harness_changes(request, [str(task)])[str(after)]
    tokenizer = AutoTokenizer.from_pretrained(before)
    right = []
    for folder in (before, after):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        picks = []
        for row in DOCUMENTS:
            prompt = tokenizer(row["q"], add_special_tokens=False)["input_ids"]
            options = [tokenizer(f" {choice}", add_special_tokens=False)["input_ids"] for choice in row["choices"]]
            sums = [sum(score(model, prompt, option)) for option in options]
            picks.append(sums.index(max(sums)) == row["gold"])
        right.append(sum(picks) / len(picks))
    assert (line["task"], line["metric"], line["n"]) == ("sums", "acc", 8)
    assert [line["before"], line["after"]] == right
    assert line["difference"]["estimate"] == pytest.approx(right[1] - right[0])
