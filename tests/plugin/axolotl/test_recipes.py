"""Every shipped recipe passes Axolotl's own validation, and says what it needs and costs.

Validation asks what the GPU can do; there being none here, it is told the GPU each recipe names.
"""

from pathlib import Path

import pytest
import yaml
from axolotl.cli.config import prepare_plugins
from axolotl.utils.config import validate_config
from axolotl.utils.dict import DictDefault

from mindgap_axolotl.args import options_of

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


def test_the_papers_numbers() -> None:
    cfg = validated("paper.yaml")
    assert cfg.micro_batch_size * cfg.gradient_accumulation_steps * 8 == 256
    assert (cfg.learning_rate, cfg.sequence_len, cfg.num_epochs) == (5e-5, 2048, 1)
    assert (cfg.lr_scheduler, cfg.warmup_ratio, cfg.weight_decay, cfg.max_grad_norm) == ("cosine", 0.1, 0.01, 1.0)
    assert (cfg.adam_beta1, cfg.adam_beta2, cfg.bf16, cfg.adapter) == (0.9, 0.95, True, None)


def test_the_baseline_differs_from_qlora_in_the_loss_and_data_only() -> None:
    baseline, qlora = (
        (yaml.safe_load((RECIPES / f"{name}.yaml").read_text())) for name in ("sft-baseline", "qlora-8b-24gb")
    )
    assert {key for key in qlora if baseline[key] != qlora[key]} == {"mindgap", "datasets", "output_dir"}
