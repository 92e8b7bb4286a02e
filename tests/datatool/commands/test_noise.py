"""The noise floor on tiny models: nothing between equal computations, and all of a known error."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from mindgap_data.commands import main
from rewritten import write_rewritten
from tiny import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model") / "m")


def run(*arguments):
    return CliRunner().invoke(main, ["noise", *map(str, arguments), "--engine", "transformers"])


def test_a_file_of_the_same_model_has_a_floor_of_rounding_alone(model, tmp_path):
    path = tmp_path / "a.jsonl"
    records = write_rewritten(model, path, count=12)
    result = run(path, "--model", model, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    own = [record for record in records if record["tier"] == "self"]
    assert found["floor"]["rows"] == len(own)
    assert found["floor"]["tokens"] == sum(len(record["response_token_ids"]) for record in own)
    assert found["floor"]["largest"] < 1e-4
    assert found["floor"]["ess"] == pytest.approx({"token": 1, "sequence": 1, "geometric": 1}, abs=1e-6)
    assert found["engine"] == {"name": "transformers", "dtype": "float32", "quantization": None}
    assert json.loads((tmp_path / "a.jsonl.noise.json").read_text()) == found


def test_an_error_of_the_stored_log_probs_is_measured(model, tmp_path):
    path = tmp_path / "a.jsonl"
    records = write_rewritten(model, path, count=16)
    rng = np.random.default_rng(0)
    errors = []
    for record in records:
        if record["tier"] == "self":
            stored = np.minimum(0.0, np.array(record["behavior_logprobs"]) + rng.normal(0, 0.3))
            errors.extend((np.array(record["policy_logprobs"]) - stored).tolist())
            record["behavior_logprobs"] = stored.tolist()
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = run(path, "--model", model, "--json")
    assert result.exit_code == 0, result.output
    floor = json.loads(result.stdout)["floor"]
    assert floor["mean"] == pytest.approx(np.mean(errors), abs=1e-4)
    assert floor["sd"] == pytest.approx(np.std(errors), abs=1e-4)
    assert floor["largest"] == pytest.approx(np.max(np.abs(errors)), abs=1e-4)
    # gap shows it beside the figures it bounds, and warns of the level it spoils.
    shown = CliRunner().invoke(main, ["gap", str(path), "--resamples", "20"])
    assert "Noise alone (a.jsonl.noise.json): ESS/N " in shown.stdout
    assert f"Note: {path}: Weights at level sequence are below their noise floor: rounding alone" in shown.stderr


def test_without_a_file_the_policy_draws(model):
    result = run("--model", model, "--rows", "5", "--max-tokens", "7")
    assert result.exit_code == 0, result.output
    assert "5 responses, " in result.stdout
    assert "trainer, 8 rows at a time, against stored" in result.stdout
    assert "Engine transformers: dtype float32, quantization None. Trainer: transformers forward, float32." in (
        result.stdout
    )


def test_bfloat16_training_has_more_noise_than_float32(model):
    found = {}
    for dtype in ("float32", "bfloat16"):
        result = run("--model", model, "--rows", "8", "--max-tokens", "12", "--train-dtype", dtype, "--json")
        assert result.exit_code == 0, result.output
        found[dtype] = json.loads(result.stdout)["floor"]["sd"]
    assert found["bfloat16"] > 100 * found["float32"]


def test_the_trainer_computes_in_the_recipe_s_precision(model, tmp_path):
    recipe = tmp_path / "lora.yaml"
    recipe.write_text(f"base_model: {model}\nsequence_len: 64\nbf16: true\n")
    result = run("--recipe", recipe, "--rows", "4", "--max-tokens", "6", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["trainer"] == {"dtype": "bfloat16", "batch": 8}
    result = run("--recipe", recipe, "--rows", "4", "--max-tokens", "6", "--json", "--train-dtype", "float32")
    assert json.loads(result.stdout)["trainer"] == {"dtype": "float32", "batch": 8}


def test_ids_of_another_tokenizer_are_refused(model, tmp_path):
    path = tmp_path / "a.jsonl"
    write_rewritten(model, path, count=1, tokenizer="sha256:0")
    result = run(path, "--model", model)
    assert result.exit_code == 2
    assert f"Error: {path}:1: provenance.tokenizer is sha256:0, that of {model} is sha256:" in result.stderr
