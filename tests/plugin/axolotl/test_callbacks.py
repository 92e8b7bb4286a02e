"""Alarms: each fires on its own numbers, once, with a remedy; `stop` ends the run."""

import json
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mindgap_axolotl.args import AlarmOptions
from mindgap_axolotl.callbacks import AlarmCallback
from mindgap_data.checks.training import TrainingLog, run_findings
from mindgap_data.gap.noise import NoiseFloor


def feed(callback: AlarmCallback, *logs: dict[str, Any]) -> tuple[list[dict[str, str]], Any]:
    """The alarms of each log, and the control object at the end."""
    control = SimpleNamespace(should_training_stop=False, should_save=False)
    raised = []
    for step, log in enumerate(logs):
        callback.on_log(None, SimpleNamespace(global_step=step), control, logs={"loss": 1.0, **log})
        raised.append(dict(callback.lasting))
    return raised, control


def warnings(monkeypatch: pytest.MonkeyPatch, options: AlarmOptions, *logs: dict[str, Any]) -> list[str]:
    """What is said of these logs."""
    said: list[str] = []
    monkeypatch.setattr("mindgap_axolotl.callbacks.LOG", SimpleNamespace(warning=said.append))
    feed(AlarmCallback(options), *logs)
    return said


BAD = {
    "mindgap/self/ess": 0.01,
    "mindgap/self/weight_variance": 99.0,
    "mindgap/self/clipped_share": 0.9,
    "mindgap/self/nll": 9.0,
    "grad_norm": 99.0,
    "mindgap/self/tokens": 1,
    "mindgap/expert/tokens": 99,
}
STEADY = [{"mindgap/self/nll": 1.0, "grad_norm": 1.0}] * 10


def test_warnings_are_the_rules_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule has its own tests in tests/datatool/checks; here: that every one reaches the user, in its words."""
    logs = [*STEADY, *[BAD] * 20]
    said = warnings(monkeypatch, AlarmOptions(), *logs)
    found = {f.rule: f for f in run_findings(TrainingLog.of(i, {"loss": 1.0, **log}) for i, log in enumerate(logs))}
    assert {name.split(".")[0] for name in found} == {
        "ess_floor", "weight_variance", "clipped_share", "nll_rise", "grad_norm_spike", "expert_share",
    }  # fmt: skip
    assert len(said) == len(found)
    for finding in found.values():
        step, detail = finding.detail.removeprefix("from step ").split(": ", 1)
        assert f"mindgap, step {step}: {finding.title}: {detail}. {finding.advice}" in said


def test_limits_out_of_reach_turn_alarms_off(monkeypatch: pytest.MonkeyPatch) -> None:
    off = AlarmOptions(
        ess_floor=0, weight_variance=inf, clipped_share=1, nll_rise=inf, grad_norm_spike=inf, expert_share=1
    )
    assert warnings(monkeypatch, off, *STEADY, *[BAD] * 10) == []


def test_a_loss_that_is_not_finite_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warnings(monkeypatch, AlarmOptions(), {"loss": float("nan")}) == [
        "mindgap, step 0: loss is not finite: it is nan. Lower the learning rate, use clip: truncate, and train in "
        "bfloat16 or float32 instead of float16."
    ]


def test_stop_acts_when_an_alarm_has_lasted() -> None:
    bad = {"mindgap/self/ess": 0.01}
    _, control = feed(AlarmCallback(AlarmOptions(stop=True, patience=3)), bad, bad, {}, bad, bad)
    assert not control.should_training_stop
    _, control = feed(AlarmCallback(AlarmOptions(stop=True, patience=3)), bad, bad, bad)
    assert control.should_training_stop
    assert control.should_save
    _, control = feed(AlarmCallback(AlarmOptions()), *[bad] * 9)
    assert not control.should_training_stop


def test_an_alarm_is_said_once_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"mindgap/self/ess": 0.01}
    said = warnings(monkeypatch, AlarmOptions(), bad, bad, {}, bad)
    assert [line.split(":")[0] for line in said] == ["mindgap, step 0", "mindgap, step 3"]


def test_evaluation_logs_are_not_judged() -> None:
    callback = AlarmCallback(AlarmOptions())
    callback.on_log(None, SimpleNamespace(global_step=1), None, logs={"eval_loss": 1.0, "mindgap/self/ess": 0.01})
    assert callback.lasting == {}


def test_a_level_below_its_noise_floor_is_named_as_training_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    floor = NoiseFloor(10, 5_000, 0.0, 0.1, 0.3, 0.5, {"token": 0.99, "sequence": 0.01, "geometric": 0.999})
    path = tmp_path / "train.jsonl.noise.json"
    path.write_text(json.dumps({"version": 1, "floor": floor.as_dict()}))
    said: list[str] = []
    monkeypatch.setattr("mindgap_axolotl.callbacks.LOG", SimpleNamespace(warning=said.append))
    AlarmCallback(AlarmOptions(noise=str(path)), "token").on_train_begin(None, None, None)
    assert said == []
    AlarmCallback(AlarmOptions(noise=str(path)), "sequence").on_train_begin(None, None, None)
    assert [line.split(":")[1] for line in said] == [" Weights at level sequence are below their noise floor"]
