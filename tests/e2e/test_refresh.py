"""`axolotl train` and `mindgap-data refresh` side by side on the CPU: rows come back, no row is staler than allowed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from axolotl_runs import BIN, LORA, recipe, train
from refreshing import VERIFIED, write_problems
from tiny import save_tiny_model

pytestmark = pytest.mark.e2e

ENVIRONMENT = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def data_tool(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [str(BIN / "mindgap-data"), *arguments, *VERIFIED, "--quiet"]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)


def test_training_and_worker_side_by_side(tmp_path: Path) -> None:
    """Sixteen rows, two steps an epoch: at step 4 training must wait until the worker has drawn all of them."""
    model, problems = save_tiny_model(tmp_path / "model"), write_problems(tmp_path / "in.jsonl", 16)
    rewriting = data_tool(tmp_path, "rewrite", str(problems), "-o", "rows.jsonl", "--model", str(model))
    assert rewriting.wait() == 0, rewriting.communicate()[1]
    shared = tmp_path / "shared"
    worker = data_tool(tmp_path, "refresh", str(problems), "--folder", str(shared), "--model", str(model))
    settings = recipe(
        model,
        tmp_path / "rows.jsonl",
        **LORA,
        micro_batch_size=4,
        gradient_accumulation_steps=2,
        max_steps=10,
        learning_rate=0.003,
        mindgap={"refresh": {"folder": str(shared), "every": 2, "max_staleness": 4, "wait": 120}},
    )
    run = train(tmp_path / "run", settings)
    assert run.code == 0, run.text[-3000:]
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 0, said

    assert [path.name for path in sorted(shared.glob("adapters/*"))] == [f"adapter-{n:06d}" for n in (2, 4, 6, 8, 10)]
    batches = sorted(path for path in shared.glob("rows/rows-*.jsonl") if "failed" not in path.name)
    steps = [int(path.name.split("-")[1]) for path in batches]
    assert len(steps) >= 2
    for path, step in zip(batches, steps, strict=True):
        rows = read(path)
        assert [row["id"] for row in rows] == [f"p{n}" for n in range(16)]
        assert {row["provenance"]["training_step"] for row in rows} == {step}

    # What is logged after step n was trained by the policy of n - 1 steps.
    stale = [(log["mindgap/staleness/mean"], log["mindgap/staleness/max"]) for log in run.train]
    assert stale[:4] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert all(most <= 4 for _, most in stale)
    assert any(log["mindgap/staleness/max"] < 4 for log in run.train[4:])
    assert "staler than max_staleness" not in run.text
