"""Alarms: each fires on its own numbers, once, with a remedy; `stop` ends the run."""

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from mindgap_axolotl.args import AlarmOptions
from mindgap_axolotl.callbacks import AlarmCallback


def feed(callback: AlarmCallback, *logs: dict[str, Any]) -> tuple[list[dict[str, str]], Any]:
    """The alarms of each log, and the control object at the end."""
    control = SimpleNamespace(should_training_stop=False, should_save=False)
    raised = []
    for step, log in enumerate(logs):
        callback.on_log(None, SimpleNamespace(global_step=step), control, logs={"loss": 1.0, **log})
        raised.append(dict(callback.lasting))
    return raised, control


def messages(options: AlarmOptions, *logs: dict[str, Any]) -> list[str]:
    """Messages of the last log."""
    callback = AlarmCallback(options)
    for log in logs[:-1]:
        list(callback.alarms(log))
    return [message for _, message in callback.alarms(logs[-1])]


STEADY = [{"mindgap/self/nll": 1.0, "grad_norm": 1.0}] * 10


@pytest.mark.parametrize(
    ("logs", "wanted"),
    [
        ([{"mindgap/self/ess": 0.5, "mindgap/guided/weight_variance": 9.0}], []),
        (
            [{"mindgap/guided/ess": 0.05}],
            [
                "ESS/N of guided rows is 0.05, below 0.1: few tokens carry the gradient; lower the learning rate, "
                "train fewer epochs, or rewrite again with the model as it is now"
            ],
        ),
        # Expert weights are policy probabilities: small and uneven by nature.
        ([{"mindgap/expert/ess": 0.01, "mindgap/expert/weight_variance": 50.0}], []),
        (
            [{"mindgap/self/weight_variance": 12.5}],
            [
                "weight variance of self rows is 12.5, above 10; use level: token or geometric, clip: truncate, or "
                "rewrite again with the model as it is now"
            ],
        ),
        (STEADY, []),
        (
            [*STEADY, *[{"mindgap/self/nll": 2.5}] * 10],
            [
                "NLL of self rows, mean of 20 logs, is 1.75, 0.75 nats above its lowest (1): the weighted loss may "
                "fall while the model unlearns; lower the learning rate or clip_max, or use normalize: batch"
            ],
        ),
        # One odd batch, or another mix of tiers, is no trend.
        ([*STEADY, {"mindgap/self/nll": 6.0}], []),
        ([*STEADY, *[{"mindgap/expert/nll": 6.0}] * 10], []),
        (
            [*STEADY, {"grad_norm": 15.0}],
            [
                "gradient norm is 15, 15 times the usual 1; set max_grad_norm: 1, lower clip_max, or look at the rows "
                "of this step"
            ],
        ),
        ([{"grad_norm": 1.0}, {"grad_norm": 15.0}], []),
        ([*[{"grad_norm": 0.0}] * 10, {"grad_norm": 15.0}], []),
        (
            [{"mindgap/self/tokens": 4, "mindgap/expert/tokens": 96}],
            [
                "96% of the trained tokens are expert text: the rewriting reached little; draw more --samples a stage, "
                "or weigh the tier down with tier_weights"
            ],
        ),
        ([{"mindgap/expert/tokens": 96}], []),
    ],
)
def test_alarms(logs: list[dict[str, Any]], wanted: list[str]) -> None:
    assert messages(AlarmOptions(), *logs) == wanted


def test_limits_out_of_reach_turn_alarms_off() -> None:
    off = AlarmOptions(ess_floor=0, weight_variance=inf, nll_rise=inf, grad_norm_spike=inf, expert_share=1)
    bad = {
        "mindgap/self/ess": 0.01,
        "mindgap/self/weight_variance": 99.0,
        "mindgap/self/nll": 9.0,
        "grad_norm": 99.0,
        "mindgap/self/tokens": 1,
        "mindgap/expert/tokens": 99,
    }
    assert messages(off, *STEADY, *[bad] * 10) == []


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
    said: list[str] = []
    monkeypatch.setattr("mindgap_axolotl.callbacks.LOG", SimpleNamespace(warning=said.append))
    bad = {"mindgap/self/ess": 0.01}
    feed(AlarmCallback(AlarmOptions()), bad, bad, {}, bad)
    assert [line.split(":")[0] for line in said] == ["mindgap, step 0", "mindgap, step 3"]


def test_evaluation_logs_are_not_judged() -> None:
    callback = AlarmCallback(AlarmOptions())
    callback.on_log(None, SimpleNamespace(global_step=1), None, logs={"eval_loss": 1.0, "mindgap/self/ess": 0.01})
    assert callback.lasting == {}
