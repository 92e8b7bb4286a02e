"""Real `axolotl train` runs on the CPU: what they print is checked against numbers computed from the data alone."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from axolotl_runs import LORA, SEVERAL_PROCESSES, Run, recipe, run, train
from rewritten import prompt_ids, score, write_rewritten, write_rows
from tiny import save_tiny_model

pytestmark = pytest.mark.e2e
CLIP_MAX = 2.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a file of 16 rewritten rows and, of the same questions, a plain SFT file."""
    folder = tmp_path_factory.mktemp("axolotl")
    save_tiny_model(folder / "model")
    rows = write_rewritten(folder / "model", folder / "rows.jsonl")
    plain = [{"messages": [row["messages"][0], {"role": "assistant", "content": row["expert"]}]} for row in rows]
    write_rows(folder / "plain.jsonl", plain)
    return folder


@pytest.fixture(scope="module")
def rows(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "rows.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def lora(home: Path) -> Run:
    """The run others are compared with: LoRA, unpacked, every row in every step, evaluated, saved half-way."""
    settings = recipe(
        home / "model",
        home / "rows.jsonl",
        **LORA,
        max_steps=6,
        save_strategy="steps",
        save_steps=3,
        test_datasets=[{"path": str(home / "rows.jsonl"), "type": "mindgap_axolotl.chat_template", "split": "train"}],
        eval_steps=3,
        eval_batch_size=1,
    )
    return finished(train(home / "lora", settings))


def finished(run: Run) -> Run:
    assert run.code == 0, run.text[-3000:]
    return run


def expected(rows: list[dict[str, Any]], log_probs: list[list[float]] | None = None) -> dict[str, float]:
    """The metrics of a step over ``rows`` with ``preset: is``, in float64, by the formulas as the README has them.

    ``log_probs`` are the policy's of each row's response, by default the recorded ones.
    """
    found: dict[str, float] = {}
    per_tier: dict[str, list[np.ndarray]] = {}
    for index, row in enumerate(rows):
        p = np.array(row["policy_logprobs"] if log_probs is None else log_probs[index])
        if row["tier"] == "expert":
            weight, ratio = np.exp(p), p - np.array(row["policy_logprobs"])
        else:
            ratio = p - np.array(row["behavior_logprobs"])
            weight = np.exp(ratio)
        used = weight if row["tier"] == "expert" else np.minimum(weight, CLIP_MAX)
        per_tier.setdefault(row["tier"], []).append(np.stack([p, weight, used, ratio]))
    groups = {tier: np.concatenate(parts, axis=1) for tier, parts in per_tier.items()}
    groups["all"] = np.concatenate(list(groups.values()), axis=1)
    for group, (p, weight, used, ratio) in groups.items():
        found |= {
            f"mindgap/{group}/ess": weight.sum() ** 2 / (weight**2).sum() / len(p),
            f"mindgap/{group}/weight_mean": weight.mean(),
            f"mindgap/{group}/weight_variance": weight.var(),
            f"mindgap/{group}/weight_max": weight.max(),
            f"mindgap/{group}/clipped_share": (used < weight).mean(),
            f"mindgap/{group}/k1": -ratio.mean(),
            f"mindgap/{group}/k3": (np.exp(ratio) - 1 - ratio).mean(),
            f"mindgap/{group}/nll": -p.mean(),
            f"mindgap/{group}/tokens": len(p),
        }
    p, _, used, _ = groups["all"]
    return {**found, "loss": -(used * p).mean()}


def assert_logged(log: dict[str, float], wanted: dict[str, float], rel: float = 1e-3) -> None:
    """Four digits are printed."""
    for name, value in wanted.items():
        assert log[name] == pytest.approx(value, rel=rel, abs=1e-5), name


def test_lora_prints_what_the_data_say_and_learns(lora: Run, rows: list[dict[str, Any]]) -> None:
    assert_logged(lora.train[0], expected(rows))
    assert lora.train[0]["mindgap/self/ess"] == 1
    assert len(lora.train) == 6
    # The weighted loss itself need not fall: a weight grows with its token's probability.
    assert lora.train[-1]["mindgap/all/nll"] < lora.train[0]["mindgap/all/nll"]
    assert all("ppl" not in log for log in lora.train)


def test_evaluation_reports_plain_nll_by_tier(lora: Run, rows: list[dict[str, Any]]) -> None:
    first, last = lora.evals[0], lora.evals[-1]
    wanted = {f"eval_{name}": value for name, value in expected(rows).items() if name != "loss"}
    assert_logged(first, wanted)
    # Trainer averages the means of the batches, here of one row each.
    assert first["eval_loss"] == pytest.approx(-np.mean([np.mean(row["policy_logprobs"]) for row in rows]), rel=1e-3)
    assert first["eval_ppl"] == pytest.approx(math.exp(first["eval_loss"]), rel=1e-2)
    assert last["eval_loss"] < first["eval_loss"]


def test_axolotl_evaluate_keeps_its_two_data_sets_apart(home: Path, rows: list[dict[str, Any]]) -> None:
    half = rows[:8]
    write_rows(home / "half.jsonl", half)
    test = [{"path": str(home / "half.jsonl"), "type": "mindgap_axolotl.chat_template", "split": "train"}]
    done = finished(
        run("evaluate", home / "evaluated", recipe(home / "model", home / "rows.jsonl", test_datasets=test))
    )
    for prefix, of in (("train", rows), ("eval", half)):
        wanted = expected(of)
        for name in ("all/tokens", "self/nll", "guided/ess"):
            (found,) = re.findall(rf"\b{prefix}_mindgap/{name}: (\S+)", done.text)
            assert float(found) == pytest.approx(wanted[f"mindgap/{name}"], rel=1e-3), (prefix, name)


def test_resuming_from_a_checkpoint_prints_the_same_steps(home: Path, lora: Run) -> None:
    settings = recipe(
        home / "model",
        home / "rows.jsonl",
        **LORA,
        max_steps=6,
        resume_from_checkpoint=str(home / "lora" / "out" / "checkpoint-3"),
    )
    resumed = finished(train(home / "resumed", settings)).train
    names = [name for name in lora.train[0] if name.startswith("mindgap/") or name in ("loss", "grad_norm")]
    assert len(resumed) == 3
    for before, after in zip(lora.train[3:], resumed, strict=True):
        assert_logged(after, {name: before[name] for name in names if name in before})


def test_packed_rows_print_the_same_as_padded_ones(home: Path, rows: list[dict[str, Any]], lora: Run) -> None:
    settings = recipe(
        home / "model",
        home / "rows.jsonl",
        **LORA,
        max_steps=3,
        sample_packing=True,
        pad_to_sequence_len=True,
        micro_batch_size=1,
        gradient_checkpointing=True,
    )
    packed = finished(train(home / "packed", settings)).train
    assert packed[0]["mindgap/all/tokens"] == sum(len(row["response_token_ids"]) for row in rows)
    assert_logged(packed[0], expected(rows))
    assert packed[-1]["mindgap/all/nll"] < packed[0]["mindgap/all/nll"]


NORMALISED = {"mindgap": {"normalize": "batch", "tier_weights": {"expert": 0.0}}, "max_steps": 3, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def normalised(home: Path) -> Run:
    """Full fine-tuning (LoRA starts from random numbers) with the loss divided by the weights of the global batch."""
    return finished(train(home / "normalised", recipe(home / "model", home / "rows.jsonl", **NORMALISED)))


def test_self_normalised_loss_divides_by_the_weights(normalised: Run, rows: list[dict[str, Any]]) -> None:
    total = weights = 0.0
    for row in rows:
        if row["tier"] != "expert":
            p, beta = np.array(row["policy_logprobs"]), np.array(row["behavior_logprobs"])
            used = np.minimum(np.exp(p - beta), CLIP_MAX)
            total, weights = total - (used * p).sum(), weights + used.sum()
    assert normalised.train[0]["loss"] == pytest.approx(total / weights, rel=1e-3)


@SEVERAL_PROCESSES
def test_two_processes_print_the_same_as_one(home: Path, normalised: Run) -> None:
    settings = recipe(
        home / "model",
        home / "rows.jsonl",
        **NORMALISED,
        gradient_accumulation_steps=4,
        max_memory={"cpu": "8GiB"},  # else Axolotl places a second process's model on a GPU
    )
    both = finished(train(home / "two", settings, processes=2)).train
    names = [name for name in both[0] if name.startswith("mindgap/") or name in ("loss", "grad_norm")]
    assert len(both) == len(normalised.train) == 3
    for ours, theirs in zip(both, normalised.train, strict=True):
        assert_logged(ours, {name: theirs[name] for name in names})


def test_qlora_prints_the_nll_of_the_4_bit_model(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    # 4-bit blocks are 64 wide, so the model must be.
    model = save_tiny_model(tmp_path / "model", hidden_size=128, intermediate_size=128)
    rows = write_rewritten(model, tmp_path / "rows.jsonl")
    settings = recipe(model, tmp_path / "rows.jsonl", **LORA | {"adapter": "qlora"}, load_in_4bit=True, max_steps=3)
    run = finished(train(tmp_path / "run", settings)).train
    quantised = AutoModelForCausalLM.from_pretrained(
        model,
        dtype=torch.float32,
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
        ),
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = [score(quantised, prompt_ids(tokenizer, row["messages"][:-1]), row["response_token_ids"]) for row in rows]
    wanted = expected(rows, found)
    for tier in ("self", "guided", "expert"):
        assert run[0][f"mindgap/{tier}/nll"] == pytest.approx(wanted[f"mindgap/{tier}/nll"], rel=0.01), tier
        assert run[0][f"mindgap/{tier}/tokens"] == wanted[f"mindgap/{tier}/tokens"]
    assert run[-1]["mindgap/all/nll"] < run[0]["mindgap/all/nll"]


def test_weight_one_is_axolotls_own_loss_to_the_last_digit(home: Path) -> None:
    changes = {"gradient_accumulation_steps": 1, "max_steps": 6, "learning_rate": 1e-3}
    ours = train(home / "sft", recipe(home / "model", home / "plain.jsonl", mindgap={"preset": "sft"}, **changes))
    stock_recipe = recipe(home / "model", home / "plain.jsonl", plugins=None, **changes)
    stock_recipe["datasets"][0]["type"] = "chat_template"
    theirs = train(home / "stock", stock_recipe)
    assert "rows have no response_token_ids; they are trained as plain SFT rows, in the expert tier" in ours.text
    names = ("loss", "grad_norm")
    assert [[log[name] for name in names] for log in finished(ours).train] == [
        [log[name] for name in names] for log in finished(theirs).train
    ]
    assert ours.train[-1]["loss"] < ours.train[0]["loss"]


def broken_recipe(home: Path, rows: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """A recipe whose fifth row is broken, and the one line that says so."""
    write_rows(home / "broken.jsonl", [*rows[:4], {**rows[4], "policy_logprobs": rows[4]["policy_logprobs"][:-1]}])
    count = len(rows[4]["response_token_ids"])
    return (
        recipe(home / "model", home / "broken.jsonl", **LORA, max_steps=1),
        f"Error: {home / 'broken.jsonl'}: row 5 (id q4): policy_logprobs has {count - 1} values for {count} "
        "response_token_ids",
    )


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=SEVERAL_PROCESSES)])
def test_a_broken_row_stops_the_run_in_one_line_before_the_model_is_loaded(
    home: Path, rows: list[dict[str, Any]], processes: int
) -> None:
    settings, line = broken_recipe(home, rows)
    # Two workers encode the rows, so the error crosses a process of the datasets library as well.
    settings |= {"dataset_num_proc": 2}
    run = train(home / f"broken-{processes}", settings, processes=processes)
    assert run.code == 2, run.text[-3000:]
    assert run.text.splitlines().count(line) == 1
    assert "Traceback" not in run.text
    assert "Loading weights" not in run.text


@pytest.mark.parametrize("processes", [1, 2])
def test_a_wrong_recipe_is_one_line_and_exit_code_2(home: Path, processes: int) -> None:
    settings = recipe(home / "model", home / "rows.jsonl", **LORA, mindgap={"preset": "iss"})
    run = train(home / f"wrong-{processes}", settings, processes=processes)
    assert run.code == 2, run.text[-3000:]
    assert (
        run.text.splitlines().count(
            "Error: mindgap.preset: input should be 'is', 'paper', 'sft', 'iw-sft', 'asft' or 'eaft'"
        )
        == 1
    )
    assert "Traceback" not in run.text
