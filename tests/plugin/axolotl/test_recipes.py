"""Every shipped recipe passes Axolotl's own validation, and says what it needs and costs.

Validation asks what the GPU can do; there being none here, it is told the GPU each recipe names.
"""

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from axolotl.cli.config import prepare_plugins
from axolotl.integrations.base import PluginManager
from axolotl.utils.config import normalize_config, validate_config
from axolotl.utils.dict import DictDefault
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from mindgap_axolotl.args import options_of
from mindgap_axolotl.collators import FieldColumns
from mindgap_axolotl.trainer import MindGapTrainer
from mindgap_data.errors import UserError
from tiny import save_tiny_model

RECIPES = Path(__file__).parents[3] / "recipes"
NAMES = sorted(path.name for path in RECIPES.glob("*.yaml"))
PRESETS = {"paper.yaml": "paper", "sft-baseline.yaml": "sft"}


def validated(name: str) -> DictDefault:
    cfg = DictDefault(yaml.safe_load((RECIPES / name).read_text()))
    prepare_plugins(cfg)
    on_gpu = bool(cfg.bf16)
    return validate_config(
        cfg,
        capabilities={
            "bf16": on_gpu,
            "fp8": False,
            "tf32": on_gpu,
            "n_gpu": 4 if cfg.fsdp_version else 1,
            "compute_capability": "sm_90" if on_gpu else None,
        },
        env_capabilities={"torch_version": "2.13.0"},
    )


def test_the_promised_recipes_are_there() -> None:
    assert NAMES == [
        "cpu-smoke.yaml",
        "full-fsdp2.yaml",
        "lora.yaml",
        "paper.yaml",
        "qlora-70b-multi-gpu.yaml",
        "qlora-8b-12gb.yaml",
        "qlora-8b-24gb.yaml",
        "sft-baseline.yaml",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_axolotl_accepts_it(name: str) -> None:
    cfg = validated(name)
    assert options_of(cfg).preset == PRESETS.get(name, "is")
    assert cfg.datasets[0]["type"] == "mindgap_axolotl.chat_template"
    # Set at registration: without it a changed data file would not be noticed.
    assert cfg.mindgap_fingerprint.startswith("sha256:")


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_needs_and_costs(name: str) -> None:
    head = (RECIPES / name).read_text().split("\nbase_model")[0].splitlines()
    assert all(line.startswith("#") or not line for line in head)
    for word in ("# Needs: ", f"axolotl train recipes/{name}"):
        assert any(word in line for line in head), word
    assert name == "cpu-smoke.yaml" or any(line.startswith("# Costs: ") for line in head)


@pytest.fixture(scope="module", name="tiny_model")
def _tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("recipes") / "model")


def trainer_of(name: str, model: Path, folder: Path, **changes: Any) -> Any:
    """The trainer Axolotl builds from a recipe, on a tiny model; what only CUDA or several GPUs have is left out."""
    from axolotl.core.builders import HFCausalTrainerBuilder

    cfg = validated(name)
    cfg.update(
        {"bf16": False, "load_in_4bit": False, "tf32": False, "fsdp": None, "fsdp_config": None, "fsdp_version": None}
    )
    cfg.update({"output_dir": str(folder), "base_model": str(model), "attn_implementation": "sdpa"})
    normalize_config(cfg)
    cfg.update(changes)
    loaded = AutoModelForCausalLM.from_pretrained(model)
    rows = [{"input_ids": [1, 2], "attention_mask": [1, 1], "labels": [1, 2], "length": 2, "position_ids": [0, 1]}] * 8
    plugins = PluginManager.get_instance()
    plugins.cfg = cfg
    builder = HFCausalTrainerBuilder(cfg, loaded, AutoTokenizer.from_pretrained(model))
    builder.train_dataset = builder.eval_dataset = Dataset.from_list(rows)
    return builder.build(total_num_steps=100)


@pytest.mark.parametrize("name", NAMES)
def test_what_axolotl_makes_of_it(name: str, tiny_model: Path, tmp_path: Path) -> None:
    cfg, trainer = validated(name), trainer_of(name, tiny_model, tmp_path)
    args = trainer.args
    assert isinstance(trainer, MindGapTrainer)
    assert isinstance(trainer.data_collator, FieldColumns)
    assert trainer.options == options_of(cfg)
    # It switches itself on when saves and evaluations fall together, and takes the checkpoint of the lowest plain NLL.
    assert not args.load_best_model_at_end
    # One denominator for all ranks: Axolotl turns it off by itself.
    assert args.average_tokens_across_devices
    assert args.max_seq_length == cfg.sequence_len
    assert args.per_device_train_batch_size == cfg.micro_batch_size
    assert args.gradient_accumulation_steps == cfg.gradient_accumulation_steps
    assert (args.learning_rate, args.weight_decay) == (cfg.learning_rate, cfg.weight_decay)
    assert args.lr_scheduler_type == cfg.lr_scheduler == "cosine"
    assert args.max_grad_norm == (1.0 if cfg.max_grad_norm is None else cfg.max_grad_norm)
    assert bool(args.sample_packing) == bool(cfg.sample_packing)
    assert args.eval_strategy == ("no" if not cfg.val_set_size else "steps")


def test_a_recipe_that_says_nothing_would_load_the_checkpoint_of_the_lowest_nll(
    monkeypatch: pytest.MonkeyPatch, tiny_model: Path, tmp_path: Path
) -> None:
    """What the recipes' ``load_best_model_at_end: false`` is for."""
    plain = validated

    def silent(name: str) -> DictDefault:
        cfg = plain(name)
        del cfg["load_best_model_at_end"]
        return cfg

    monkeypatch.setitem(globals(), "validated", silent)
    assert trainer_of("lora.yaml", tiny_model, tmp_path).args.load_best_model_at_end


def test_another_loss_is_refused_however_it_came(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        trainer_of("lora.yaml", tiny_model, tmp_path, use_eaft=True)
    assert error.value.message == (
        "the recipe brings a loss of its own (eaft_loss), and so does mindgap; keep one of them"
    )


def test_the_papers_template_differs_from_the_models_in_the_end_of_the_turn_only() -> None:
    template = validated("paper.yaml").chat_template_jinja
    messages = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]
    render = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template).render
    system = "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
    prompt = f"{system}<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n"
    assert render(messages=messages[:1], add_generation_prompt=True) == prompt
    assert render(messages=messages, add_generation_prompt=False) == f"{prompt}2<|endoftext|>"


def test_the_papers_numbers() -> None:
    cfg = validated("paper.yaml")
    assert cfg.micro_batch_size * cfg.gradient_accumulation_steps * 8 == 256
    assert (cfg.learning_rate, cfg.sequence_len, cfg.num_epochs) == (5e-5, 2048, 1)
    assert (cfg.lr_scheduler, cfg.warmup_ratio, cfg.weight_decay, cfg.max_grad_norm) == ("cosine", 0.1, 0.01, 1.0)
    assert (cfg.excess_length_strategy, cfg.sample_packing) == ("truncate", False)
    assert (cfg.adam_beta1, cfg.adam_beta2, cfg.bf16, cfg.adapter) == (0.9, 0.95, True, None)


def test_the_baseline_differs_from_qlora_in_the_loss_and_data_only() -> None:
    baseline, qlora = (
        (yaml.safe_load((RECIPES / f"{name}.yaml").read_text())) for name in ("sft-baseline", "qlora-8b-24gb")
    )
    assert {key for key in qlora if baseline[key] != qlora[key]} == {"mindgap", "datasets", "output_dir"}
