"""Rules on a rewritten file: on what its rows were counted to, and on the policy gap that was measured."""

from collections.abc import Iterator, Mapping

import numpy as np

from mindgap_data.checks.finding import Finding
from mindgap_data.checks.kinds import KINDS
from mindgap_data.checks.noise import all_noise_findings
from mindgap_data.checks.shared import REWRITTEN, expert_share_findings, unchecked_findings, weight_findings
from mindgap_data.checks.style import style_findings
from mindgap_data.checks.tally import FileTally
from mindgap_data.checks.thresholds import (
    CHECKER_ERROR_DRAWS,
    LEAKED_DRAWS,
    MIN_ROWS,
    NO_ANSWER_DRAWS,
    PROMPT_GAP,
    SELF_KL,
    SHORT_RESPONSES,
    TRUNCATED_DRAWS,
    AlarmThresholds,
)
from mindgap_data.gap.figures import GapFigures
from mindgap_data.gap.noise import NoiseFloor

# Outcome of a draw -> share of a stage's draws that is tolerated, title, advice.
_DRAWS = {
    "truncated": (
        TRUNCATED_DRAWS,
        "Many draws are truncated",
        "Raise --max-tokens: long but right solutions are thrown away.",
    ),
    "no_answer": (
        NO_ANSWER_DRAWS,
        "Many draws end without an answer",
        "Ask for the answer's form with --instruction, for example 'Put the final answer in \\boxed{}.'",
    ),
    "checker_error": (
        CHECKER_ERROR_DRAWS,
        "The verifier fails on some draws",
        "They count as unusable. Run `mindgap-data verify` on the file to see which, or use another verifier.",
    ),
    "leaked": (
        LEAKED_DRAWS,
        "Many draws give the shown solution away",
        "Say in the guided prompt that the reader will not see the solution, and not to mention it.",
    ),
}


def tally_findings(tally: FileTally) -> Iterator[Finding]:
    """What is wrong with a file, from counts over its rows."""
    total = tally.rows.total()
    yield from unchecked_findings(tally.unchecked, total - tally.rows["expert"])
    if total >= MIN_ROWS:
        yield from expert_share_findings(tally.rows["expert"], total, "rows", AlarmThresholds())
    yield from _draw_findings(tally)
    yield from _fault_findings(tally)
    yield from _short_findings(tally)
    yield from style_findings(tally.style.by_tier())


def gap_findings(figures: Mapping[str, GapFigures | None], noise: NoiseFloor | None = None) -> Iterator[Finding]:
    """What is wrong with a file, from its gap by tier and for "all", and from the noise floor where it was measured."""
    yield from all_noise_findings(noise)
    everything = figures["all"]
    assert everything is not None
    if everything.paired < everything.rows:
        yield Finding(
            "unpaired",
            "warn",
            "Not every row can be compared with its expert",
            f"{everything.rows - everything.paired:,} of {everything.rows:,} rows have no expert log-probs",
            "Run `mindgap-data score --expert` on the file: the gap before rewriting is measured with them.",
        )
    if any(figures[tier] for tier in REWRITTEN):
        yield from _difference(everything)
    for tier in REWRITTEN:
        group = figures[tier]
        if group is not None and group.rows >= MIN_ROWS:
            weights = group.weights["after"]["token"]
            yield from weight_findings(
                tier,
                weights.ess_fraction.estimate,
                weights.variance.estimate,
                weights.clipped_share.estimate,
                AlarmThresholds(),
                None if noise is None else noise.ess["token"],
            )
    own, guided = figures["self"], figures["guided"]
    if own is not None and own.kl is not None and own.kl.k3.estimate > SELF_KL:
        yield Finding(
            "self_kl",
            "warn",
            "Self responses were not drawn from the measured policy",
            f"KL k3 between sampler and policy is {own.kl.k3.estimate:.2g} nats per token, above {SELF_KL:g}",
            "It is 0 when the model itself samples at temperature 1: the data are stale, the sampler ran at another "
            "temperature or precision, or another model was scored.",
        )
    if guided is not None and guided.prompt_gap is not None and abs(guided.prompt_gap.per_token.estimate) > PROMPT_GAP:
        gap = guided.prompt_gap
        yield Finding(
            "prompt_gap",
            "warn",
            "Guided responses lean on the solution they were shown",
            f"prompt gap {gap.per_token.estimate:+.3f} nats per token, {gap.per_response.estimate:+.1f} per response",
            "Without the solution the policy would hardly write them. Ask for the model's own words in the guided "
            "prompt (--guided-template), or draw more often in the self stage.",
        )


def _difference(figures: GapFigures) -> Iterator[Finding]:
    if figures.difference is None or figures.paired < MIN_ROWS:
        return
    detail = (
        f"chosen - expert: {figures.difference.estimate:+.3f} nats per token and problem "
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


def _draw_findings(tally: FileTally) -> Iterator[Finding]:
    for stage, draws in tally.draws.items():
        sampled = draws["sampled"]
        if sampled < MIN_ROWS:
            continue
        for outcome, (tolerated, title, advice) in _DRAWS.items():
            if draws[outcome] > tolerated * sampled:
                yield Finding(
                    f"{outcome}.{stage}",
                    "warn",
                    f"{title} in the {stage} stage",
                    f"{draws[outcome] / sampled:.1%} of {sampled:,} draws, above {tolerated:.0%}",
                    advice,
                )


def _fault_findings(tally: FileTally) -> Iterator[Finding]:
    """Faults of single rows that too many rows have."""
    for name, kind in KINDS.items():
        count, total = tally.faulty[name].total(), tally.rows.total()
        if count and (kind.tolerated == 0 or total >= MIN_ROWS) and count > kind.tolerated * total:
            yield Finding(
                name,
                "bad" if kind.weight >= 7 else "warn",
                f"Rows with the finding {name}",
                f"{count:,} of {total:,}: {kind.meaning}",
                kind.advice,
            )


def _short_findings(tally: FileTally) -> Iterator[Finding]:
    if len(tally.rewritten_words) < MIN_ROWS:
        return
    chosen, expert = float(np.median(tally.rewritten_words)), float(np.median(tally.expert_words))
    if chosen < SHORT_RESPONSES * expert:
        yield Finding(
            "short",
            "warn",
            "Rewritten responses are much shorter than the expert's",
            f"median {chosen:.0f} against {expert:.0f} words",
            "Answers without reasoning teach no reasoning. Ask for a step-by-step solution with --instruction, "
            "and read the shortest rows.",
        )
