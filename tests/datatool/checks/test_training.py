"""Each alarm is raised by its own figures, and only then; a run's log raises the same ones afterwards."""

import subprocess
import sys
from math import inf, nan
from typing import Any

import pytest

from mindgap_data.checks.finding import Finding
from mindgap_data.checks.thresholds import AlarmThresholds
from mindgap_data.checks.training import TrainingLog, TrainingWatch, run_findings

STEADY: list[dict[str, Any]] = [{"mindgap/self/nll": 1.0, "grad_norm": 1.0}] * 20
MIXED = {"mindgap/self/tokens": 10, "mindgap/guided/tokens": 10, "mindgap/expert/tokens": 80}


def logged(*entries: dict[str, Any]) -> list[TrainingLog]:
    return [TrainingLog.of(step, entry) for step, entry in enumerate(entries, start=1)]


def last(*entries: dict[str, Any], limits: AlarmThresholds | None = None) -> list[Finding]:
    """What is said at the last of the logs."""
    watch = TrainingWatch(limits or AlarmThresholds())
    return [watch.see(log) for log in logged(*entries)][-1]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"mindgap/guided/ess": 0.25},
            "Few tokens carry the gradient in the guided tier: ESS/N is 0.25, below 0.3. Use level: token or geometric "
            "with clip: truncate, train for fewer steps at a lower learning rate, or rewrite again with the current "
            "model.",
        ),
        (
            {"mindgap/self/weight_variance": 12.5},
            "High weight variance in the self tier: the variance of the raw weights is 12.5, above 10. Use level: "
            "token or geometric with clip: truncate, or rewrite again with the current model.",
        ),
        (
            {"mindgap/self/clipped_share": 0.125},
            "Much of the self tier is clipped: the clip changes 12.5% of the weights, above 10%. Clipping biases the "
            "gradient. Sample at temperature 1 without top-p or top-k, or rewrite again with the current model.",
        ),
        (
            {"loss": nan},
            "loss is not finite: it is nan. Lower the learning rate, use clip: truncate, and train in bfloat16 or "
            "float32 instead of float16.",
        ),
    ],
)
def test_what_one_log_alone_shows(entry: dict[str, Any], words: str) -> None:
    assert [finding.in_words for finding in last(entry)] == [words]


def test_the_noise_floor_stands_beside_a_low_ess() -> None:
    watch = TrainingWatch(AlarmThresholds(), noise_ess=0.42)
    (finding,) = watch.see(TrainingLog.of(1, {"mindgap/self/ess": 0.2}))
    assert finding.detail == "ESS/N is 0.2, below 0.3 (noise alone leaves 0.42)"


def test_a_lasting_rise_of_a_tiers_nll_is_named() -> None:
    (finding,) = last(*STEADY, *[{"mindgap/self/nll": 1.5}] * 11)
    assert (finding.rule, finding.severity) == ("nll_rise.self", "bad")
    assert finding.detail == "the median of the last 20 logs is 1.5 nats per token, 0.5 above its lowest, 1"


def test_a_gradient_norm_is_compared_with_the_usual_one() -> None:
    (finding,) = last(*STEADY, {"grad_norm": 15.0})
    assert finding.rule == "grad_norm_spike"
    assert finding.detail == "15 is 15 times the usual 1"


def test_expert_text_is_counted_over_the_last_logs() -> None:
    (finding,) = last(*[MIXED | {"mindgap/expert/tokens": 100}] * 5)
    assert finding.rule == "expert_share"
    assert finding.detail == "83% of the trained tokens are expert text, above 80%"


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param(STEADY, id="steady"),
        pytest.param([{"mindgap/self/ess": 0.3, "mindgap/guided/weight_variance": 10.0}], id="at the thresholds"),
        pytest.param([{"mindgap/expert/ess": 0.01, "mindgap/expert/weight_variance": 50.0}], id="expert weights"),
        pytest.param([*STEADY, {"mindgap/self/nll": 9.0}], id="one odd batch is no trend"),
        pytest.param([*STEADY, *[{"mindgap/expert/nll": 9.0}] * 10], id="another tier"),
        pytest.param([*STEADY, *[{"mindgap/self/nll": nan}] * 30], id="an NLL that is not a number"),
        pytest.param([{"mindgap/self/nll": 1.0}, {"mindgap/self/nll": 9.0}], id="too few logs for a trend"),
        pytest.param([{"grad_norm": 1.0}, {"grad_norm": 15.0}], id="too few logs for a usual norm"),
        pytest.param([*[{"grad_norm": 0.0}] * 10, {"grad_norm": 15.0}], id="frozen, then not"),
        pytest.param([MIXED] * 5, id="expert text at the threshold"),
        pytest.param([MIXED | {"mindgap/expert/tokens": 900}] * 4, id="too few logs for a share"),
        pytest.param([{"mindgap/expert/tokens": 96}] * 9, id="a baseline on expert text alone"),
    ],
)
def test_no_alarm(entries: list[dict[str, Any]]) -> None:
    assert last(*entries) == []


def test_thresholds_out_of_reach_turn_rules_off() -> None:
    off = AlarmThresholds(
        ess_floor=0, weight_variance=inf, clipped_share=1, nll_rise=inf, grad_norm_spike=inf, expert_share=1
    )
    bad = {
        "mindgap/self/ess": 0.01,
        "mindgap/self/weight_variance": 99.0,
        "mindgap/self/clipped_share": 0.9,
        "mindgap/self/nll": 9.0,
        "grad_norm": 99.0,
        "mindgap/self/tokens": 1,
        "mindgap/expert/tokens": 99,
    }
    assert len(last(*STEADY, bad)) == 5, "the same figures do raise alarms"
    assert last(*STEADY, *[bad] * 30, limits=off) == []


def test_a_finished_run_names_each_alarm_once_with_its_first_step_worst_first() -> None:
    entries = [*STEADY, {"mindgap/self/weight_variance": 11.0}, *[{"mindgap/guided/ess": 0.1}] * 3]
    found = run_findings(logged(*entries))
    assert [(finding.rule, finding.detail) for finding in found] == [
        ("ess_floor.guided", "from step 22: ESS/N is 0.1, below 0.3"),
        ("weight_variance.self", "from step 21: the variance of the raw weights is 11, above 10"),
    ]
    assert [finding.title for finding in run_findings(logged(*STEADY))] == ["Training looks steady"]


def test_a_log_takes_numbers_only() -> None:
    log = TrainingLog.of(3, {"loss": True, "grad_norm": "1", "mindgap/self/ess": 0.5, "mindgap/self/tokens": 7})
    assert (log.step, log.loss, log.grad_norm) == (3, None, None)
    assert (log.tiers["self"].ess, log.tiers["self"].tokens, log.tiers["expert"].ess) == (0.5, 7.0, None)


def test_the_rules_load_without_torch_or_a_tokenizer() -> None:
    heavy = "{'torch', 'transformers', 'vllm', 'scipy'} & set(sys.modules)"
    code = f"import sys, mindgap_data.checks.training; sys.exit(str({heavy}) if {heavy} else 0)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
