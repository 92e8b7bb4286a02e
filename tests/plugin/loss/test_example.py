"""The examples for transformers and TRL run as written, and their first loss is the formula's."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer

from mindgap_data.errors import UserError
from mindgap_loss.options import LossOptions
from mindgap_loss.trainer import WeightedLossMixin, collate, encode

EXAMPLES = Path(__file__).parents[3] / "examples"
WORDS = ["<pad>", "<end>", "user", "assistant", "what", "is", "one", "two", "three", "and", "it"]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} <end> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


@pytest.fixture(scope="module", name="example", params=["transformers_trainer", "trl_sft_trainer"])
def _example(request):
    spec = importlib.util.spec_from_file_location(request.param, EXAMPLES / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PlainTrainer(WeightedLossMixin, Trainer):
    """Nothing but the loss replaced."""


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """A model, its tokenizer, and three rows with the model's own log-probs, shifted where it is not the policy."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=11, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ).eval()
    tokenizer.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    rows = []
    for tier, answer, shift in (("self", "it is two", 0.0), ("guided", "one and two", 0.4), ("expert", "three", None)):
        messages = [{"role": "user", "content": "what is one and two"}, {"role": "assistant", "content": answer}]
        prompt = tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
        response = tokenizer.encode(answer + " <end>")
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        policy = logits.log_softmax(-1)[torch.arange(len(response)), torch.tensor(response)]
        rows.append(
            {
                "messages": messages,
                "tier": tier,
                "response_token_ids": response,
                "behavior_logprobs": None if shift is None else (policy - shift).tolist(),
                "policy_logprobs": policy.tolist(),
            }
        )
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path, rows


def test_it_trains_and_its_first_loss_is_the_formula_s(example, folder):
    path, rows = folder
    before = AutoModelForCausalLM.from_pretrained(path / "model").state_dict()
    trainer = example.main(str(path / "model"), str(path / "out.jsonl"), str(path / "trained"))
    expected, tokens = 0.0, 0
    for row in rows:
        for t, p in enumerate(row["policy_logprobs"]):
            behavior = row["behavior_logprobs"]
            weight = math.exp(p) if behavior is None else min(math.exp(p - behavior[t]), 2.0)
            expected, tokens = expected - weight * p, tokens + 1
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected / tokens, rel=1e-3)
    after = AutoModelForCausalLM.from_pretrained(path / "trained").state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("preset", ["is", "paper", "sft"])
def test_accumulation_is_exact_and_evaluation_is_plain_nll(folder, preset):
    from transformers import AutoTokenizer, TrainingArguments

    path, rows = folder
    tokenizer = AutoTokenizer.from_pretrained(path / "model")
    encoded = [encode(row, tokenizer) for row in rows]
    weights = []
    for size, steps in ((3, 1), (1, 3)):
        arguments = TrainingArguments(
            str(path / f"out-{size}"),
            remove_unused_columns=False,
            per_device_train_batch_size=size,
            per_device_eval_batch_size=3,
            gradient_accumulation_steps=steps,
            max_steps=2,
            learning_rate=0.01,
            optim="sgd",
            max_grad_norm=0,
            report_to="none",
            prediction_loss_only=True,
            use_cpu=True,
        )
        trainer = PlainTrainer(
            AutoModelForCausalLM.from_pretrained(path / "model"),
            arguments,
            data_collator=collate,
            train_dataset=encoded,
            eval_dataset=encoded,
            options=LossOptions(preset=preset, chunk_tokens=2),
        )
        nll = -sum(sum(row["policy_logprobs"]) for row in rows) / sum(len(row["policy_logprobs"]) for row in rows)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(nll, rel=1e-4)
        trainer.train()
        weights.append(trainer.model.state_dict())
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-5, atol=1e-7)


def trainer_of(folder, **options):
    from transformers import AutoTokenizer, TrainingArguments

    path, rows = folder
    tokenizer = AutoTokenizer.from_pretrained(path / "model")
    arguments = TrainingArguments(
        str(path / "out"), remove_unused_columns=False, report_to="none", use_cpu=True, dataloader_pin_memory=False
    )
    model = AutoModelForCausalLM.from_pretrained(path / "model")
    trainer = PlainTrainer(model, arguments, data_collator=collate, options=LossOptions(**options))
    trainer.model.train()  # in evaluation the loss is the plain NLL
    return trainer, collate([encode(row, tokenizer, trainer.options) for row in rows])


def test_with_several_processes_the_loss_is_scaled_as_the_trainer_s_own(folder, monkeypatch):
    """Gradients are averaged over processes, and num_items_in_batch counts the tokens of all of them."""
    from accelerate import Accelerator

    trainer, batch = trainer_of(folder, preset="sft")
    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: 2))
    ours = trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(30))
    plain = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    theirs = Trainer.compute_loss(trainer, trainer.model, plain, num_items_in_batch=torch.tensor(30))
    torch.testing.assert_close(ours, theirs)


def test_pass_rates_reach_the_loss(folder):
    for row, correct in zip(folder[1], (1, 2, 0), strict=True):
        row["attempts"] = {row["tier"]: {"sampled": 4, "correct": correct}}
    trainer, batch = trainer_of(folder, preset="sft", pass_rate=True)
    found = trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(1))
    nll = [-sum(row["policy_logprobs"]) for row in folder[1]]
    assert found.item() == pytest.approx(nll[0] / 4 + nll[1] / 2 + nll[2], rel=1e-4)


def test_what_the_mix_in_cannot_do_is_refused(folder):
    with pytest.raises(UserError) as error:
        trainer_of(folder, normalize="batch")
    assert error.value.message == (
        "normalize: batch needs the weights of every micro-batch of a step, which a trainer hands over one at a time; "
        "use normalize: none, or Axolotl"
    )
    folder[1][1] |= {"behavior_logprobs": None, "id": "q7"}
    with pytest.raises(UserError) as error:
        trainer_of(folder)
    assert error.value.message == (
        "row q7: behavior_logprobs is null in a guided row, and preset: is needs them; use preset: paper or sft"
    )
