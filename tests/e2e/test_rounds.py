"""Two rounds on the CPU, stopped in the middle and continued: each rewrites with what the one before has trained."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from axolotl_runs import CPU, LORA
from rewritten import write_rows
from tiny import save_tiny_model

pytestmark = pytest.mark.e2e

COMMAND = [str(Path(sys.executable).with_name("mindgap-data")), "rounds", "plan.yaml"]
ENVIRONMENT = {
    **os.environ,
    "AXOLOTL_DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "ACCELERATE_USE_CPU": "true",
    "OMP_NUM_THREADS": "1",
    "COLUMNS": "120",
    # The verifiers of tests/support.
    "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A tiny model, problems, a benchmark, a recipe and a plan of one round."""
    save_tiny_model(tmp_path / "model")
    rows = [{"id": f"p{n}", "problem": f"{n} + {n}?", "solution": f"\\boxed{{{2 * n}}}"} for n in range(48)]
    write_rows(tmp_path / "in.jsonl", rows)
    write_rows(tmp_path / "letters.jsonl", [{"id": x, "problem": f"Say {x}.", "answer": x} for x in "aeinost"])
    recipe = {**CPU, **LORA, "base_model": "model", "plugins": ["mindgap_axolotl.MindGapPlugin"], "max_steps": 3}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    write_plan(tmp_path, rounds=1)
    return tmp_path


def write_plan(home: Path, **changes: Any) -> None:
    plan = {
        "input": "in.jsonl",
        "recipe": "recipe.yaml",
        "benchmarks": ["letters.jsonl"],
        "output": "out",
        "launcher": "python",
        "keep_within": 100,  # so that rows are kept, however far a few steps move a model this small
        "rewrite": {"verifier": "verdicts:by_length", "max_tokens": 24, "samples": 2, "batch_size": 4},
        "evaluate": {"verifier": "letters:holds", "max_tokens": 24, "samples": 4},
        **changes,
    }
    (home / "plan.yaml").write_text(yaml.safe_dump(plan))


def run(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(COMMAND, cwd=home, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False)


def stop_while_rewriting(home: Path) -> str:
    """Start, and send SIGTERM as soon as the first round has drawn something; what it said."""
    process = subprocess.Popen(COMMAND, cwd=home, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    journal = home / "out" / "round-1" / "rewritten.jsonl.journal"
    while not (journal.exists() and journal.read_bytes().count(b'"group"') >= 2):
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert not (home / "out" / "round-1" / "rewritten.jsonl").exists()
    return said


def times(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_rounds_stopped_continued_and_raised(home: Path) -> None:
    assert stop_while_rewriting(home).strip().endswith("Run the same command again to continue out")
    out = home / "out"
    evaluated = times(out / "untrained")
    first = run(home)
    assert first.returncode == 0, first.stderr
    assert times(out / "untrained") == evaluated, "a finished step ran again"

    finished = times(out / "round-1")
    write_plan(home, rounds=2)
    second = run(home)
    assert second.returncode == 0, second.stderr
    assert times(out / "round-1") == finished, "a finished round ran again"
    assert [line.partition(";")[0] for line in second.stderr.splitlines()] == [
        f"round 2 of 2: {doing}" for doing in ("rewriting", "training", "evaluating")
    ]

    # The second round is drawn and scored by what the first one trained, and trains on from there.
    adapter = "out/round-1/model"
    before, after = (read(out / f"round-{n}" / "rewritten.jsonl") for n in (1, 2))
    assert [row["id"] for row in after] == [row["id"] for row in before] == [f"p{n}" for n in range(48)]
    for row in after:
        provenance = row["provenance"]
        assert (provenance.get("policy") or provenance)["adapter"] == adapter
        assert [(was["round"], was.get("adapter")) for was in provenance["rounds"]] == [(0, None)]
    assert yaml.safe_load((out / "round-2" / "recipe.yaml").read_text())["lora_model_dir"] == adapter
    weights = {(out / f"round-{n}" / "model" / "adapter_model.safetensors").read_bytes() for n in (1, 2)}
    assert len(weights) == 2
    settings = json.loads((out / "round-2" / "evaluation" / "summary.json").read_text())["settings"]
    assert settings["adapter"] == "out/round-2/model"

    # The table says what the files say.
    table = json.loads((out / "rounds.json").read_text())
    assert [row["round"] for row in table] == [0, 1, 2]
    for row, folder, rows in zip(
        table, ("untrained", "round-1/evaluation", "round-2/evaluation"), (None, before, after), strict=True
    ):
        draws = [draw for problem in read(out / folder / "generations.jsonl") for draw in problem["draws"]]
        share = sum(draw["outcome"] == "correct" for draw in draws) / len(draws)
        assert row["accuracy"]["estimate"] == pytest.approx(share)
        assert f"{100 * share:.1f} (" in second.stdout
        if rows is not None:
            data = row["data"]
            assert data["tiers"] == {t: sum(one["tier"] == t for one in rows) for t in ("self", "guided", "expert")}
            assert data["kept"] == sum("drawn_in" in one["provenance"] for one in rows)
            nll = [-value for one in rows for value in one["policy_logprobs"]]
            assert data["chosen_nll"] == pytest.approx(sum(nll) / len(nll))
    assert table[2]["data"]["kept"] > 0

    again = run(home)
    assert (again.returncode, again.stdout, again.stderr) == (0, second.stdout, "")
    write_plan(home, rounds=2, keep_within=1.5)
    refused = run(home)
    assert (refused.returncode, refused.stderr) == (
        2,
        "Error: out: holds rounds of other settings (keep_within was 100.0, now 1.5); choose another output in "
        "plan.yaml\n",
    )
