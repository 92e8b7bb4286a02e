"""What looks wrong in a rewritten file or a training run, in words, and what to try."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mindgap_data.gap.figures import Figures
from mindgap_data.gap.measure import FileGap
from mindgap_data.report.rows import RowCollection
from mindgap_data.report.training import Curve, Curves

Severity = Literal["bad", "warn", "good"]

# Fewer rows or steps than these say nothing.
_MIN_ROWS = 10
_MIN_STEPS = 8


@dataclass(frozen=True)
class Finding:
    """One thing a reader should know."""

    severity: Severity
    title: str
    detail: str  # the figure it rests on
    advice: str  # what to try; empty for good news


def data_findings(gap: FileGap, collection: RowCollection) -> list[Finding]:
    """Findings on the data, the worst first."""
    everything, expert = gap.figures["all"], gap.figures["expert"]
    assert everything is not None
    found = [
        *_gap_findings(everything, rewritten=everything.rows - (expert.rows if expert else 0)),
        *_weight_findings(gap.figures),
        *_tier_findings(gap.figures),
        *_draw_findings(collection),
        *_text_findings(gap, collection),
    ]
    return sorted(found, key=lambda finding: ("bad", "warn", "good").index(finding.severity))


def training_findings(curves: Curves) -> list[Finding]:
    """Findings on a training run, the worst first."""
    found = [*_instability(curves), *_nll_rise(curves), *_ess_fall(curves)]
    if not found:
        found = [Finding("good", "Training looks steady", "no NaN, spike, NLL rise or ESS collapse in the log", "")]
    return sorted(found, key=lambda finding: ("bad", "warn", "good").index(finding.severity))


def _gap_findings(figures: Figures, rewritten: int) -> Iterator[Finding]:
    if figures.paired < figures.rows:
        yield Finding(
            "warn",
            "Not every row can be compared with its expert",
            f"{figures.rows - figures.paired:,} of {figures.rows:,} rows have no expert log-probs",
            "Run `mindgap-data score --expert` on the file: the gap before rewriting is measured with them.",
        )
    if figures.difference is None or figures.paired < _MIN_ROWS or not rewritten:
        return
    detail = (
        f"chosen - expert: {figures.difference.estimate:+.3f} nats/token per problem "
        f"[{figures.difference.low:+.3f}, {figures.difference.high:+.3f}]"
    )
    if figures.difference.high < 0:
        yield Finding("good", "Rewriting narrowed the policy gap", detail, "")
    elif figures.difference.low > 0:
        yield Finding(
            "bad",
            "Rewriting widened the policy gap",
            detail,
            "The policy finds the chosen responses less likely than the expert's. Check that sampling and scoring used "
            "the same model, chat template and prompt, and that the temperature is 1.",
        )
    else:
        yield Finding(
            "warn",
            "No sign that rewriting narrowed the policy gap",
            detail,
            "Few rows were rewritten, or the expert already writes as the policy does. Look at the tier shares.",
        )


def _weight_findings(figures: dict[str, Figures | None]) -> Iterator[Finding]:
    for tier in ("self", "guided"):
        group = figures[tier]
        if group is None or group.rows < _MIN_ROWS:
            continue
        weights = group.weights["after"]["token"]
        ess = weights.ess_fraction.estimate
        if ess < 0.8:
            yield Finding(
                "bad" if ess < 0.5 else "warn",
                f"High weight variance in the {tier} tier",
                f"token ESS/N {ess:.3f}, variance {weights.variance.estimate:.3g}, largest weight {weights.max:.3g}",
                "Few tokens carry the gradient. Keep `clip: truncate` with a low clip_max, prefer level token or "
                "geometric, and rewrite again with the current policy.",
            )
        if weights.clipped_share.estimate > 0.05:
            yield Finding(
                "warn",
                f"Much of the {tier} tier is clipped",
                f"{weights.clipped_share.estimate:.1%} of token weights are changed by the clip",
                "Clipping biases the gradient. Sample at temperature 1 without top-p or top-k, or rewrite with the "
                "current policy.",
            )
    own, guided = figures["self"], figures["guided"]
    if own is not None and own.kl is not None and own.kl.k3.estimate > 1e-3:
        yield Finding(
            "warn",
            "Self responses were not drawn from the measured policy",
            f"KL k3 {own.kl.k3.estimate:.2g} nats/token between the sampler and the policy",
            "Expected 0 when the model samples at temperature 1: the data are stale, the sampler ran at another "
            "precision or temperature, or another model was scored.",
        )
    if guided is not None and guided.prompt_gap is not None and abs(guided.prompt_gap.per_token.estimate) > 0.3:
        gap = guided.prompt_gap
        yield Finding(
            "warn",
            "Guided responses lean on the solution they were shown",
            f"prompt gap {gap.per_token.estimate:+.3f} nats/token, {gap.per_response.estimate:+.1f} a response",
            "Without the solution the policy would hardly write them. Ask for the model's own words in the guided "
            "prompt (--guided-template), or draw more often in the self stage.",
        )


def _tier_findings(figures: dict[str, Figures | None]) -> Iterator[Finding]:
    everything, expert = figures["all"], figures["expert"]
    assert everything is not None
    share = (expert.rows if expert else 0) / everything.rows
    if share > 0.5 and everything.rows >= _MIN_ROWS:
        yield Finding(
            "bad" if share > 0.8 else "warn",
            "Few rows were rewritten",
            f"{share:.0%} of rows keep the expert's text",
            "The gap stays where nothing is rewritten. Raise --samples, raise --max-tokens if draws are truncated, "
            "or begin with problems nearer to what the model can do.",
        )


def _draw_findings(collection: RowCollection) -> Iterator[Finding]:
    for stage, counts in collection.attempts.items():
        sampled = counts["sampled"]
        if sampled < _MIN_ROWS:
            continue
        for outcome, limit, title, advice in _DRAW_RULES:
            share = counts[outcome] / sampled
            if share > limit:
                yield Finding("warn", f"{title} in the {stage} stage", f"{share:.1%} of {sampled:,} draws", advice)


_DRAW_RULES = (
    (
        "truncated",
        0.1,
        "Many draws are truncated",
        "Raise --max-tokens: long but right solutions are being thrown away.",
    ),
    (
        "no_answer",
        0.3,
        "Many draws end without an answer",
        "Ask for the answer's form with --instruction, for example 'Put the final answer in \\boxed{}.'",
    ),
    (
        "checker_error",
        0.01,
        "The verifier fails on some draws",
        "They count as unusable. Run `mindgap-data verify` on the file to see which, or use another verifier.",
    ),
    (
        "leaked",
        0.1,
        "Many draws give the shown solution away",
        "Say in the guided prompt that the reader will not see the solution, and not to mention it.",
    ),
)


def _text_findings(gap: FileGap, collection: RowCollection) -> Iterator[Finding]:
    rewritten = sum(figures.rows for tier in ("self", "guided") if (figures := gap.figures[tier]))
    if collection.leaks:
        yield Finding(
            "bad",
            "Kept responses mention a reference solution",
            f"{collection.leaks:,} of {rewritten:,} rewritten rows",
            "A trained model would refer to solutions that nobody gave it. Tick 'flagged only' in the row list, "
            "and drop them.",
        )
    if rewritten >= _MIN_ROWS and collection.near_copies / rewritten > 0.1:
        yield Finding(
            "warn",
            "Many rewrites copy the expert",
            f"{collection.near_copies / rewritten:.0%} of rewritten rows share most of their 8-grams with the expert",
            "They bring nothing over the expert's text. Ask for the model's own words in the guided prompt.",
        )
    chosen, expert = (np.array([pair[side] for pair in collection.characters], dtype=np.float64) for side in (0, 1))
    own = gap.sums.tier != 2
    if own.sum() >= _MIN_ROWS and np.median(chosen[own]) < np.median(expert[own]) / 3:
        yield Finding(
            "warn",
            "Rewritten responses are much shorter than the expert's",
            f"median {np.median(chosen[own]):.0f} against {np.median(expert[own]):.0f} characters",
            "Answers without reasoning teach no reasoning. Ask for a step-by-step solution with --instruction, "
            "and read the shortest rows below.",
        )


def _instability(curves: Curves) -> Iterator[Finding]:
    for metric in ("loss", "grad_norm"):
        curve = curves.get(metric, {}).get("run")
        if curve is not None and not all(map(math.isfinite, curve.values)):
            step = next(s for s, value in zip(curve.steps, curve.values, strict=True) if not math.isfinite(value))
            yield Finding(
                "bad",
                f"{metric} is not finite",
                f"first at step {step:.0f}",
                "Lower the learning rate, clip weights (`clip: truncate`), and train in bf16 or float32, not float16.",
            )
    curve = curves.get("grad_norm", {}).get("run")
    values = _values(curve)
    if len(values) >= _MIN_STEPS and values.max() > 10 * np.median(values) > 0:
        yield Finding(
            "warn",
            "Gradient norm spikes",
            f"largest {values.max():.3g}, median {np.median(values):.3g}",
            "Set max_grad_norm: 1.0, warm up longer or lower the learning rate; look at the weights' variance "
            "at that step.",
        )


def _nll_rise(curves: Curves) -> Iterator[Finding]:
    for group, curve in curves.get("nll", {}).items():
        values = _values(curve)
        if len(values) < _MIN_STEPS:
            continue
        quarter = len(values) // 4
        first, last = values[:quarter].mean(), values[-quarter:].mean()
        if last > 1.1 * first and last - first > 0.02:
            yield Finding(
                "bad" if group == "all" else "warn",
                "NLL rises in training" + ("" if group == "all" else f" in the {group} tier"),
                f"{first:.3f} nats/token in the first quarter, {last:.3f} in the last",
                "The model gets worse at its own data while the weighted loss may fall. Lower the learning rate; "
                "with DFT weights on expert rows try expert_behavior: unit or reference.",
            )


def _ess_fall(curves: Curves) -> Iterator[Finding]:
    for group, curve in curves.get("ess", {}).items():
        values = _values(curve)
        if len(values) < _MIN_STEPS or group == "all":
            continue
        quarter = len(values) // 4
        first, last = values[:quarter].mean(), values[-quarter:].mean()
        if last < 0.5 * first:
            yield Finding(
                "warn",
                f"Effective sample size collapses in the {group} tier",
                f"ESS/N {first:.3f} in the first quarter, {last:.3f} in the last",
                "The policy has left the data it was rewritten from. Rewrite again with the trained model, "
                "or train for fewer steps.",
            )


def _values(curve: Curve | None) -> np.ndarray:
    values = np.array(curve.values if curve else (), dtype=np.float64)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite
