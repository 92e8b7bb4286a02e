"""The ablation grid on the CPU: cut, train with Axolotl, evaluate, continue, and the table they add up to."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from axolotl_runs import CPU, LORA
from rewritten import write_rewritten
from tiny import save_tiny_model

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENVIRONMENT = {
    **os.environ,
    "AXOLOTL_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "ACCELERATE_USE_CPU": "true",
    # The verifier of tests/letters.py, for the evaluation.
    "PYTHONPATH": str(ROOT / "tests" / "support"),
}


def run(*command: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=900, env=ENVIRONMENT, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a file rewritten with it, a benchmark, and the recipe the cells start from."""
    folder = tmp_path_factory.mktemp("grid")
    save_tiny_model(folder / "model")
    write_rewritten(folder / "model", folder / "rows.jsonl")
    scored = run(
        BIN / "mindgap-data", "score", folder / "rows.jsonl", "--expert", "--model", folder / "model",
        "-o", folder / "rewritten.jsonl", "--quiet",
    )  # fmt: skip
    assert scored.returncode == 0, scored.stderr
    problems = [{"id": letter, "problem": f"Say {letter}.", "answer": letter} for letter in "aeinost"]
    (folder / "letters.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    base = {**CPU, **LORA, "base_model": str(folder / "model"), "max_steps": 2, "dataset_num_proc": 1}
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    return folder


def grid(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run(
        sys.executable, ROOT / "recipes" / "grid" / "run.py", home / "rewritten.jsonl", "--base", home / "base.yaml",
        "--bench", home / "letters.jsonl", "-o", home / "out", "--presets", "is", "--launcher", "python", *options,
        "--", "--verifier", "letters:holds", "--samples", "4", "--max-tokens", "24", "--quiet",
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained_home(home: Path) -> Path:
    """The same with its first cell trained."""
    first = grid(home, "--data", "expert")
    assert first.returncode == 0, first.stderr
    return home


def test_two_cells_trained_one_after_the_other(trained_home: Path) -> None:
    home = trained_home
    out = home / "out"
    assert [row["data"] for row in json.loads((out / "grid.json").read_text())["cells"]] == ["expert"]
    before = {path: path.stat().st_mtime_ns for path in (out / "expert-is").rglob("*") if path.is_file()}

    second = grid(home, "--data", "expert,all")
    assert second.returncode == 0, second.stderr
    assert "[2/2] all, is" in second.stderr
    trained = {path: path.stat().st_mtime_ns for path in before if "evaluation.log" not in path.name}
    assert trained == {path: time for path, time in before.items() if path in trained}, "a finished cell ran again"

    tiers = {
        name: [json.loads(line)["tier"] for line in (out / "data" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("expert", "all")
    }
    assert tiers == {"expert": ["expert"] * 16, "all": ["self", "self", "guided", "expert"] * 4}
    weights = [(out / cell / "model" / "adapter_model.safetensors").read_bytes() for cell in ("expert-is", "all-is")]
    assert weights[0] != weights[1]

    table = json.loads((out / "grid.json").read_text())
    assert [(row["data"], row["loss"]) for row in table["cells"]] == [("expert", "is"), ("all", "is")]
    for row, folder in zip(
        [table["untrained"], *table["cells"]], ["untrained", "expert-is/evaluation", "all-is/evaluation"], strict=True
    ):
        generations = [json.loads(line) for line in (out / folder / "generations.jsonl").read_text().splitlines()]
        outcomes = [draw["outcome"] == "correct" for problem in generations for draw in problem["draws"]]
        assert row["accuracy"]["estimate"] == pytest.approx(sum(outcomes) / len(outcomes))
        assert len(outcomes) == 7 * 4
    settings = json.loads((out / "all-is" / "evaluation" / "summary.json").read_text())["settings"]
    assert settings["adapter"] == str(out / "all-is" / "model")
    shown = (out / "grid.md").read_text()
    assert second.stdout.strip() == shown.strip()
    for row in table["cells"]:
        assert f"{100 * row['accuracy']['estimate']:.1f} (" in shown


def test_another_recipe_for_a_trained_cell_is_one_line(trained_home: Path) -> None:
    home = trained_home
    recipe = yaml.safe_load((home / "base.yaml").read_text())
    (home / "base.yaml").write_text(yaml.safe_dump({**recipe, "learning_rate": 0.5}))
    done = grid(home, "--data", "expert")
    cell = home / "out" / "expert-is"
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"Error: {cell}: was trained with another recipe or other data; choose another -o or remove it"
    )
