"""The headline experiment at toy size: every arm trained by Axolotl and measured, and the page made of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from recipes.headline.plan import DATA, LOSSES, PLAN

from tiny import save_tiny_model

pytestmark = pytest.mark.e2e
pytest.importorskip("axolotl", reason="Axolotl is not installed: make .venv/.dev")
pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed: pip install 'mindgap[headline]'")
ROOT = Path(__file__).parents[2]


def experiment(*arguments: object) -> str:
    command = [sys.executable, "-m", "recipes.headline.run", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_arm_is_trained_measured_and_shown(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = save_tiny_model(tmp_path / "model")
    plan = yaml.safe_load(PLAN.read_text())
    small = {"rows": 6, "dev": 3, "test_trained": 6, "test_untrained": 3, "seeds": [1, 2], "samples": 2}
    plan |= {**small, "max_tokens": 12, "rates": [1e-3], "recipe": {**plan["recipe"], "sequence_len": 1024}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    options = ["-o", tmp_path / "run", "--model", model, "--plan", tmp_path / "plan.yaml"]
    experiment("run", *options, "--workers", 1)
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    experiment("report", *options, "--results", results, "--page", page)
    run, base, *arms = [json.loads(line) for line in results.read_text().splitlines()]
    assert base["data"] == "base"
    assert len(run["gap"]) == 2 * len(DATA)
    found = [(arm["data"], arm["loss"], arm["seed"]) for arm in arms]
    assert sorted(found) == sorted((data, loss, seed) for data in DATA for loss in LOSSES for seed in (1, 2))
    for arm in arms:
        assert {len(problems) for problems in arm["greedy"].values()} == {6, 3, 35}
        assert all(text["kl"] >= -1e-6 for text in arm["texts"])
        assert sum(tier["rows"] for tier in arm["rows"].values()) == 6
    twins = [arm for arm in arms if (arm["data"], arm["loss"]) == ("expert", "is")]
    assert all(arm["same_as"] == "expert-paper" for arm in twins), "one rate was tried, so the two are one arm"
    assert any(text["kl"] > 0 for arm in arms for text in arm["texts"]), "training must move the policy"
    assert "| all, paper | 2 |" in page.read_text()
    assert (tmp_path / "headline.svg").read_text().startswith("<?xml")
