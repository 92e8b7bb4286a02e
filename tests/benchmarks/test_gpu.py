"""The GPU kit at toy size on the CPU: a run as a user starts it, and that a wrong loss or a broken check shows."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.gpu import loss_values
from benchmarks.gpu.kit import TOY, Kit, Measure

ROOT = Path(__file__).parents[2]
KIT = Kit(replace(TOY, hidden=(16,)), "cpu", Path("no-model"))


@pytest.mark.e2e
def test_make_gpu_check_passes_every_check_on_the_cpu(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "-o", str(output)],
        cwd=ROOT, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("There is no CUDA device: toy size on the CPU.")
    found = json.loads(output.read_text())
    assert found["size"] == "toy"
    assert found["failures"] == 0
    assert found["machine"]["versions"]["torch"]
    measured = {
        name: {measure["figure"]: measure for measure in check["measures"] if measure["value"] is not None}
        for name, check in found["checks"].items()
    }
    assert list(measured) == ["loss values", "drawing", "training", "noise floor", "loss cost"]
    for name, figure in (
        ("loss values", "gradients"),
        ("drawing", "surprise against entropy"),
        ("training", "loss of preset sft against plain"),
        ("noise floor", "sd"),
    ):
        assert measured[name][figure]["verdict"] == "ok"
    assert measured["drawing"]["speed"]["value"] > 0
    missing = {measure["note"] for measure in found["checks"]["loss cost"]["measures"] if measure["value"] is None}
    assert missing <= {"not installed", "needs CUDA"}


def test_a_wrong_gradient_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = loss_values.weighted_nll

    def wrong(*problem):
        output = right(*problem)
        return replace(output, loss=1.05 * output.loss)

    def verdicts() -> set[tuple[str, str]]:
        return {(measure.figure, measure.verdict) for measure in loss_values.run(KIT) if measure.value is not None}

    assert verdicts() == {("log-probs", "ok"), ("gradients", "ok")}
    monkeypatch.setattr(loss_values, "weighted_nll", wrong)
    assert verdicts() == {("log-probs", "ok"), ("gradients", "FAIL")}


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    from benchmarks.gpu.__main__ import run

    def broken(_kit):
        yield Measure("half", "speed", 3.0, "tokens/s")
        raise RuntimeError("no kernel image is available")

    def whole(_kit):
        yield Measure("all", "speed", 4.0, "tokens/s")
        yield Measure("all", "not a number", float("nan"), tolerance=1.0)

    assert run(KIT, {"broken": broken, "whole": whole}, tmp_path / "out.json", minutes=8) == 2
    checks = json.loads((tmp_path / "out.json").read_text())["checks"]
    assert [m["case"] for m in checks["broken"]["measures"]] == ["half", "RuntimeError: no kernel image is available"]
    assert [m["verdict"] for m in checks["whole"]["measures"]] == ["", "FAIL"]
    assert "2 failures. Figures: " in capsys.readouterr().out


def test_no_check_begins_after_its_time(tmp_path: Path) -> None:
    from benchmarks.gpu.__main__ import run

    assert run(KIT, {"late": loss_values.run}, tmp_path / "out.json", minutes=0) == 0
    (late,) = json.loads((tmp_path / "out.json").read_text())["checks"]["late"]["measures"]
    assert (late["verdict"], late["note"]) == ("not run", "0 minutes were over")
