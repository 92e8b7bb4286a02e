"""What looks wrong in a rewritten file or a training run, in words, and what to try."""

from collections.abc import Iterator

import numpy as np

from mindgap_data.checks.finding import Finding, worst_first
from mindgap_data.checks.shared import expert_share_findings, weight_findings
from mindgap_data.checks.thresholds import MIN_ROWS, AlarmThresholds
from mindgap_data.gap.figures import Figures
from mindgap_data.gap.measure import FileGap
from mindgap_data.report.rows import RowCollection


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
    return worst_first(found)


def _gap_findings(figures: Figures, rewritten: int) -> Iterator[Finding]:
    if figures.paired < figures.rows:
        yield Finding(
            "unpaired",
            "warn",
            "Not every row can be compared with its expert",
            f"{figures.rows - figures.paired:,} of {figures.rows:,} rows have no expert log-probs",
            "Run `mindgap-data score --expert` on the file: the gap before rewriting is measured with them.",
        )
    if figures.difference is None or figures.paired < MIN_ROWS or not rewritten:
        return
    detail = (
        f"chosen - expert: {figures.difference.estimate:+.3f} nats/token per problem "
        f"[{figures.difference.low:+.3f}, {figures.difference.high:+.3f}]"
    )
    if figures.difference.high < 0:
        yield Finding("gap", "good", "Rewriting narrowed the policy gap", detail, "")
    elif figures.difference.low > 0:
        yield Finding(
            "gap",
            "bad",
            "Rewriting widened the policy gap",
            detail,
            "The policy finds the chosen responses less likely than the expert's. Check that sampling and scoring used "
            "the same model, chat template and prompt, and that the temperature is 1.",
        )
    else:
        yield Finding(
            "gap",
            "warn",
            "No sign that rewriting narrowed the policy gap",
            detail,
            "Few rows were rewritten, or the expert already writes as the policy does. Look at the tier shares.",
        )


def _weight_findings(figures: dict[str, Figures | None]) -> Iterator[Finding]:
    for tier in ("self", "guided"):
        group = figures[tier]
        if group is None or group.rows < MIN_ROWS:
            continue
        weights = group.weights["after"]["token"]
        yield from weight_findings(
            tier,
            weights.ess_fraction.estimate,
            weights.variance.estimate,
            weights.clipped_share.estimate,
            AlarmThresholds(),
        )
    own, guided = figures["self"], figures["guided"]
    if own is not None and own.kl is not None and own.kl.k3.estimate > 1e-3:
        yield Finding(
            "self_kl",
            "warn",
            "Self responses were not drawn from the measured policy",
            f"KL k3 {own.kl.k3.estimate:.2g} nats/token between the sampler and the policy",
            "Expected 0 when the model samples at temperature 1: the data are stale, the sampler ran at another "
            "precision or temperature, or another model was scored.",
        )
    if guided is not None and guided.prompt_gap is not None and abs(guided.prompt_gap.per_token.estimate) > 0.3:
        gap = guided.prompt_gap
        yield Finding(
            "prompt_gap",
            "warn",
            "Guided responses lean on the solution they were shown",
            f"prompt gap {gap.per_token.estimate:+.3f} nats/token, {gap.per_response.estimate:+.1f} a response",
            "Without the solution the policy would hardly write them. Ask for the model's own words in the guided "
            "prompt (--guided-template), or draw more often in the self stage.",
        )


def _tier_findings(figures: dict[str, Figures | None]) -> Iterator[Finding]:
    everything, expert = figures["all"], figures["expert"]
    assert everything is not None
    if everything.rows >= MIN_ROWS:
        yield from expert_share_findings(expert.rows if expert else 0, everything.rows, "rows", AlarmThresholds())


def _draw_findings(collection: RowCollection) -> Iterator[Finding]:
    for stage, counts in collection.attempts.items():
        sampled = counts["sampled"]
        if sampled < MIN_ROWS:
            continue
        for outcome, limit, title, advice in _DRAW_RULES:
            share = counts[outcome] / sampled
            if share > limit:
                yield Finding(
                    f"{outcome}.{stage}",
                    "warn",
                    f"{title} in the {stage} stage",
                    f"{share:.1%} of {sampled:,} draws",
                    advice,
                )


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
            "leak",
            "bad",
            "Kept responses mention a reference solution",
            f"{collection.leaks:,} of {rewritten:,} rewritten rows",
            "A trained model would refer to solutions that nobody gave it. Tick 'flagged only' in the row list, "
            "and drop them.",
        )
    if rewritten >= MIN_ROWS and collection.near_copies / rewritten > 0.1:
        yield Finding(
            "near_copy",
            "warn",
            "Many rewrites copy the expert",
            f"{collection.near_copies / rewritten:.0%} of rewritten rows share most of their 8-grams with the expert",
            "They bring nothing over the expert's text. Ask for the model's own words in the guided prompt.",
        )
    chosen, expert = (np.array([pair[side] for pair in collection.characters], dtype=np.float64) for side in (0, 1))
    own = gap.sums.tier != 2
    if own.sum() >= MIN_ROWS and np.median(chosen[own]) < np.median(expert[own]) / 3:
        yield Finding(
            "short",
            "warn",
            "Rewritten responses are much shorter than the expert's",
            f"median {np.median(chosen[own]):.0f} against {np.median(expert[own]):.0f} characters",
            "Answers without reasoning teach no reasoning. Ask for a step-by-step solution with --instruction, "
            "and read the shortest rows below.",
        )
