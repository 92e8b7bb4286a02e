"""Makes an arm: its rows rewritten and cut by mindgap-data, its adapter trained by Axolotl with the plugin."""

import json
from pathlib import Path
from typing import Any

import yaml
from recipes.headline.plan import DATA, Plan

from mindgap_data.commands import main as mindgap_data
from mindgap_data.policy.models import resolve_model_path
from mindgap_data.rows.reading import read_rows

GUIDED = Path(__file__).with_name("guided.jinja")


def call(*arguments: object) -> None:
    """Run a `mindgap-data` command in this process, so that torch is imported once for many."""
    mindgap_data.main([str(argument) for argument in arguments], standalone_mode=False)


def rewrite(plan: Plan, model: str, source: Path, output: Path, seed: int) -> None:
    """Rewrite training rows on the model's own policy."""
    sampling = ["--temperature", plan.temperature, "--max-tokens", plan.max_tokens, "--samples", plan.samples]
    engine = ["--batch-size", plan.batch_size, "--workers", 1, "--verifier", "numeric", "--engine", "transformers"]
    output.parent.mkdir(parents=True, exist_ok=True)
    call(
        "rewrite",
        source,
        "-o",
        output,
        "--model",
        model,
        "--seed",
        seed,
        *sampling,
        *engine,
        "--guided-template",
        GUIDED,
        "--overwrite",
    )


def select(rewritten: Path, folder: Path) -> None:
    """Cut the training files of all arms, the same rows in the same order in each."""
    stages = {"expert": "expert", "self+expert": "self", "guided+expert": "guided", "all": "all"}
    tiers = [word for name in DATA for word in ("--tiers", stages[name])]
    call("select", rewritten, "-o", folder, "--overwrite", *tiers)


def train(plan: Plan, model: str, data: Path, loss: str, rate: float, seed: int, folder: Path) -> dict[str, Any]:
    """Train one adapter into ``folder``/adapter; returns what the trainer logged, by metric."""
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.config import load_cfg
    from axolotl.common.datasets import load_datasets
    from axolotl.train import train as axolotl_train

    folder.mkdir(parents=True, exist_ok=True)
    recipe = {
        **plan.recipe,
        "base_model": resolve_model_path(model),
        "plugins": ["mindgap_axolotl.MindGapPlugin"],
        "mindgap": {"preset": loss},
        "datasets": [{"path": str(data), "type": "mindgap_axolotl.chat_template"}],
        "dataset_prepared_path": str(folder / "prepared"),
        "output_dir": str(folder / "adapter"),
        "learning_rate": rate,
        "seed": seed,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    cfg = load_cfg(str(path))
    _, _, trainer = axolotl_train(cfg=cfg, dataset_meta=load_datasets(cfg=cfg, cli_args=TrainerCliArgs()))
    return {"rate": rate, "data": composition(data), "log": trainer.state.log_history}


def composition(data: Path) -> dict[str, dict[str, int]]:
    """Rows and trained tokens of a training file by tier."""
    found: dict[str, dict[str, int]] = {}
    for _, row in read_rows(data):
        tier = found.setdefault(row["tier"], {"rows": 0, "tokens": 0})
        tier["rows"] += 1
        tier["tokens"] += len(row["response_token_ids"])
    return found


def write_json(path: Path, value: Any) -> None:
    """Put a result in place in one step, so that a file that is there is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    partial.rename(path)
