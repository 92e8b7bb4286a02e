"""Rescoring: both sides under another policy, against log-probs computed straight from the model."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.engines import Sampling
from mindgap_data.engines.open import EngineSettings, open_engine
from mindgap_data.errors import UserError
from mindgap_data.gap.measure import recorded_rows
from mindgap_data.gap.rescore import rescored_rows
from mindgap_data.policy.models import ModelSpec
from rewritten import prompt_ids, score, write_rewritten
from tiny import save_tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [save_tiny_model(root / name, seed=seed) for seed, name in enumerate(("old", "new"))]


@pytest.fixture(scope="module")
def written(models, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    return path, write_rewritten(models[0], path, count=8)


def engine_for(model):
    return open_engine(ModelSpec(str(model)), Sampling(), EngineSettings(engine="transformers", batch_size=3))


def test_rows_are_scored_by_the_new_model_and_keep_what_was_recorded(models, written):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path, records = written
    skipped = []
    rows = list(rescored_rows(path, engine_for(models[1]), skipped))
    model = AutoModelForCausalLM.from_pretrained(models[1], dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(models[1])
    assert skipped == []
    assert [row.tier for row in rows] == [record["tier"] for record in records]
    for row, record in zip(rows, records, strict=True):
        prompt = prompt_ids(tokenizer, record["messages"][:-1])
        expert = [*tokenizer(record["expert"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        np.testing.assert_allclose(row.chosen, score(model, prompt, record["response_token_ids"]), atol=1e-4)
        np.testing.assert_allclose(row.expert, score(model, prompt, expert), atol=1e-4)
        np.testing.assert_array_equal(row.recorded, record["policy_logprobs"])
        if record["behavior_logprobs"] is not None:
            np.testing.assert_array_equal(row.behavior, record["behavior_logprobs"])


def test_rescoring_under_the_same_model_reproduces_the_file(models, written):
    path, _ = written
    fresh = list(rescored_rows(path, engine_for(models[0]), []))
    for row, recorded in zip(fresh, recorded_rows(path, []), strict=True):
        np.testing.assert_allclose(row.chosen, recorded.chosen, atol=1e-4)


def test_a_row_beyond_the_context_is_left_out_and_said(models, written):
    path, _ = written
    engine = engine_for(models[1])
    engine.max_context = 10
    skipped = []
    assert list(rescored_rows(path, engine, skipped)) == []
    assert len(skipped) == 8
    assert skipped[0].startswith(f"{path}:1: prompt + response are ")
    assert skipped[0].endswith(" tokens, the context holds 10")


def test_ids_of_another_tokenizer_are_refused(models, written, tmp_path):
    path = tmp_path / "other.jsonl"
    write_rewritten(models[0], path, count=1, tokenizer="sha256:0")
    engine = engine_for(models[1])
    with pytest.raises(UserError) as error:
        list(rescored_rows(path, engine, []))
    assert error.value.message == (
        f"{path}:1: provenance.tokenizer is sha256:0, that of {models[1]} is {engine.tokenizer.fingerprint}: the "
        "row's ids mean other text there; rescore with a model of the same tokenizer"
    )


def test_the_command_rescoring_shows_the_drift(models, written):
    path, _ = written
    arguments = ["gap", str(path), "--model", str(models[1]), "--engine", "transformers", "--resamples", "20"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "Drift from recorded policy" in result.stdout
    # Every row is paired, although the file has no expert_logprobs.
    assert "expert_logprobs" not in result.stderr


def test_an_adapter_alone_goes_on_the_files_own_model(models, written, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(models[0], dtype=torch.float32)
    adapted = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    ).eval()
    adapted.save_pretrained(tmp_path / "lora")
    path, records = written
    arguments = ["gap", str(path), "--adapter", str(tmp_path / "lora"), "--engine", "transformers", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["files"][0]["tiers"]["all"]
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    scored = [
        (score(adapted, prompt_ids(tokenizer, r["messages"][:-1]), r["response_token_ids"]), r["policy_logprobs"])
        for r in records
    ]
    tokens = sum(len(new) for new, _ in scored)
    assert figures["after"]["nll"]["estimate"] == pytest.approx(-sum(sum(new) for new, _ in scored) / tokens, abs=1e-4)
    drift = sum(sum(new) - sum(old) for new, old in scored) / tokens
    assert abs(drift) > 1e-3
    assert figures["drift"]["per_token"]["estimate"] == pytest.approx(drift, abs=1e-4)
