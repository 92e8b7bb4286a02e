"""What happens to one problem: draw from the plain prompt, then guided, else take the expert; then score."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

from mindgap_data import __version__
from mindgap_data.engines import Failure, Request, Sampling, Score, Scores
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.record import SCHEMA_VERSION, Tier, alignment_error, decoding_error
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.leaks import NEAR_COPY, mentions_reference, ngram_overlap
from mindgap_data.rows.formats import Problem
from mindgap_data.run.scheduler import Attempt, Outcome, Steps, draw
from mindgap_data.verify.load import load_verifier, verifier_kind

Picker = Literal["first", "grape", "shortest"]
Stage = Literal["self", "guided"]


@dataclass(frozen=True)
class Plan:
    """The settings of a rewriting run that a single problem needs."""

    tokenizer: ChatTokenizer
    sampling: Sampling
    stages: tuple[Tier, ...]  # in order; "expert" is the fallback
    samples: int  # cap on draws per stage
    picker: Picker
    guided: GuidedPrompt
    max_context: int  # prompt + response, tokens
    seed: int
    score_expert: bool  # also the expert's log-probs where another tier is chosen
    provenance: dict[str, Any]  # what is the same for every row


@dataclass(frozen=True)
class Rewritten:
    """A row of the output."""

    row: dict[str, Any]
    tier: Tier
    saved_draws: int  # draws the cap allowed after the first correct one, not made


@dataclass(frozen=True)
class NotRewritten:
    """A row of the failed file, with its reason."""

    row: dict[str, Any]


@dataclass(frozen=True)
class _Chosen:
    """The response a row will carry."""

    tier: Tier
    text: str
    token_ids: tuple[int, ...]
    behavior: tuple[float, ...] | None
    policy: tuple[float, ...] | None  # None until scored


class _Unusable(Exception):  # noqa: N818 - control flow of one row, never seen by a user
    """This row cannot be rewritten; the message says why."""


def failed_row(line: int, row_id: str | None, reason: str, row: Any) -> NotRewritten:
    """A row for the failed file."""
    return NotRewritten({"line": line, "id": row_id, "reason": reason, "row": row})


def rewrite_problem(problem: Problem, line: int, plan: Plan) -> Steps[Rewritten | NotRewritten]:
    """The whole way of one problem, as the scheduler runs it; never raises for what a row holds."""
    try:
        return (yield from _rewrite(problem, plan))
    except (_Unusable, UserError) as error:
        return failed_row(line, problem.id, str(error), problem.row)


def _rewrite(problem: Problem, plan: Plan) -> Steps[Rewritten]:
    prompt = plan.tokenizer.prompt_ids(problem.messages)
    expert_ids = tuple(problem.expert_token_ids or plan.tokenizer.response_ids(problem.expert))
    if len(prompt) >= plan.max_context:
        raise _Unusable(f"the prompt is {len(prompt)} tokens long, the context holds {plan.max_context}")
    counts: dict[str, dict[str, int]] = {}
    chosen: _Chosen | None = None
    for stage in plan.stages:
        if stage == "expert" or chosen is not None:
            continue
        chosen, counts[stage] = yield from _stage(problem, stage, prompt, plan)
    if chosen is None:
        chosen = _expert(problem, prompt, expert_ids, plan)
    chosen, expert_logprobs = yield from _score(problem, chosen, prompt, expert_ids, plan)
    row = _row(problem, chosen, counts, plan)
    if expert_logprobs is not None:
        row |= {"expert_token_ids": list(expert_ids), "expert_logprobs": rounded(expert_logprobs)}
    _refuse_misaligned(row, plan)
    stopped_early = chosen.tier != "expert" and plan.picker == "first"
    saved = plan.samples - counts[chosen.tier]["sampled"] if stopped_early else 0
    return Rewritten(row, chosen.tier, saved)


def _stage(
    problem: Problem, stage: Tier, plain: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request], Sequence[Outcome], tuple[_Chosen | None, dict[str, int]]]:
    """Draw up to the cap; return the picked response, if any is correct, and the counts."""
    counts = dict.fromkeys(("sampled", "correct", "wrong", "truncated", "no_answer", "checker_error", "leaked"), 0)
    prompt = plain
    if stage == "guided":
        prompt = plan.tokenizer.prompt_ids(plan.guided.messages(problem.messages, problem.expert, problem.answer))
    room = min(plan.sampling.max_tokens, plan.max_context - len(prompt))
    if room < 1:
        return None, counts
    # The first correct draw of an i.i.d. sequence has the law of a uniform pick among the correct ones.
    at_once = 1 if plan.picker == "first" else plan.samples
    correct: list[Attempt] = []
    for start in range(0, plan.samples, at_once):
        numbers = range(start, start + at_once)
        outcomes = yield [draw(f"{problem.id}/{stage}/{n}", prompt, plan.seed, room) for n in numbers]
        correct += [a for a in map(_drawn, outcomes) if _count(a, stage, counts) == "correct"]
        if correct:
            break
    if not correct:
        return None, counts
    return (yield from _pick(correct, stage, problem, plain, plan)), counts


def _drawn(outcome: Outcome) -> Attempt:
    if isinstance(outcome, Failure):
        raise _Unusable(f"the engine could not draw: {outcome.reason}")
    assert isinstance(outcome, Attempt)
    return outcome


def _count(attempt: Attempt, stage: Tier, counts: dict[str, int]) -> str:
    """Put a draw into exactly one count, and say which."""
    kind: str = attempt.verdict
    if kind == "correct" and stage == "guided" and mentions_reference(attempt.text):
        kind = "leaked"
    counts["sampled"] += 1
    counts[kind] += 1
    return kind


def _pick(
    correct: list[Attempt], stage: Tier, problem: Problem, plain: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request], Sequence[Outcome], _Chosen]:
    """The chosen one of the correct attempts, by the picker."""
    # Drawn from the plain prompt and the model's own distribution, the behaviour log-probs are the policy's.
    known = stage == "self" and plan.sampling.is_model_distribution
    candidates = [_Chosen(stage, a.text, a.token_ids, a.logprobs, a.logprobs if known else None) for a in correct]
    if plan.picker == "first" or len(candidates) == 1:
        return candidates[0]
    if plan.picker == "shortest":
        return min(candidates, key=lambda one: len(one.token_ids))
    if not known:
        keys = [f"{problem.id}/{stage}/candidate/{n}" for n in range(len(candidates))]
        scores = yield [Score(key, plain, one.token_ids) for key, one in zip(keys, candidates, strict=True)]
        candidates = [
            _Chosen(one.tier, one.text, one.token_ids, one.behavior, _scored(score))
            for one, score in zip(candidates, scores, strict=True)
        ]
    return max(candidates, key=lambda one: sum(one.policy or ()) / len(one.token_ids))


def _expert(problem: Problem, prompt: tuple[int, ...], ids: tuple[int, ...], plan: Plan) -> _Chosen:
    if "expert" not in plan.stages:
        raise _Unusable(f"no correct response in stages {', '.join(plan.stages)}")
    if len(prompt) + len(ids) > plan.max_context:
        raise _Unusable(
            "no correct response, and the expert's does not fit: "
            f"prompt + response are {len(prompt) + len(ids)} tokens, the context holds {plan.max_context}"
        )
    logged = problem.expert_logprobs
    if logged is not None and len(logged) != len(ids):
        raise _Unusable(f"the input's behavior_logprobs has {len(logged)} values for the expert's {len(ids)} tokens")
    return _Chosen("expert", plan.tokenizer.response_text(ids), ids, tuple(logged) if logged else None, None)


def _score(
    problem: Problem, chosen: _Chosen, prompt: tuple[int, ...], expert_ids: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request], Sequence[Outcome], tuple[_Chosen, tuple[float, ...] | None]]:
    """Policy log-probs of the chosen response, and of the expert's where wanted and it fits."""
    wanted: dict[str, tuple[int, ...]] = {}
    if chosen.policy is None:
        wanted["chosen"] = chosen.token_ids
    if plan.score_expert and chosen.tier != "expert" and len(prompt) + len(expert_ids) <= plan.max_context:
        wanted["expert"] = expert_ids
    outcomes = (
        (yield [Score(f"{problem.id}/score/{what}", prompt, ids) for what, ids in wanted.items()]) if wanted else ()
    )
    logprobs = {what: _scored(outcome) for what, outcome in zip(wanted, outcomes, strict=True)}
    if "chosen" in logprobs:
        chosen = _Chosen(chosen.tier, chosen.text, chosen.token_ids, chosen.behavior, logprobs["chosen"])
    return chosen, logprobs.get("expert", chosen.policy if chosen.tier == "expert" and plan.score_expert else None)


def _scored(outcome: Outcome) -> tuple[float, ...]:
    if isinstance(outcome, Failure):
        raise _Unusable(f"the engine could not score: {outcome.reason}")
    return cast(Scores, outcome).logprobs


def _row(problem: Problem, chosen: _Chosen, counts: dict[str, dict[str, int]], plan: Plan) -> dict[str, Any]:
    overlap = None if chosen.tier == "expert" else round(ngram_overlap(chosen.text, problem.expert), 4)
    own = counts.get("self")
    behavior = None if chosen.behavior is None else plan.provenance["sampling_distribution"]
    verifier = {"verifier": problem.verifier, "verifier_kind": kind_of(problem.verifier)} if problem.verifier else {}
    provenance = {
        "schema_version": SCHEMA_VERSION,
        "tool_version": __version__,
        **{name: value for name, value in plan.provenance.items() if name != "sampling_distribution"},
        **verifier,
        "behavior": "logged" if chosen.tier == "expert" and behavior else behavior,
        "behavior_prompt": {"self": "plain", "guided": "guided"}.get(chosen.tier),
    }
    return {
        "id": problem.id,
        "messages": [*problem.messages, {"role": "assistant", "content": chosen.text}],
        "tier": chosen.tier,
        "response_token_ids": list(chosen.token_ids),
        "behavior_logprobs": None if chosen.behavior is None else rounded(chosen.behavior),
        "policy_logprobs": rounded(chosen.policy or ()),
        "answer": problem.answer,
        "expert": problem.expert,
        "attempts": {
            **counts,
            "pass_rate": own["correct"] / own["sampled"] if own and own["sampled"] else None,
            "expert_overlap": overlap,
            "near_copy": None if overlap is None else overlap >= NEAR_COPY,
        },
        "provenance": provenance,
        **problem.extra,
    }


@cache
def kind_of(verifier: str) -> str:
    """Whether a verifier that a row names checks answers or judges them."""
    return verifier_kind(load_verifier(verifier))


def _refuse_misaligned(row: dict[str, Any], plan: Plan) -> None:
    ids, behavior, policy = row["response_token_ids"], row["behavior_logprobs"], row["policy_logprobs"]
    fault = alignment_error(ids, behavior, policy, row["tier"]) or decoding_error(
        ids, row["messages"][-1]["content"], plan.tokenizer.end_ids, plan.tokenizer.decode
    )
    if fault:
        raise _Unusable(f"ids, log-probs and text do not agree: {fault}")


def rounded(logprobs: Sequence[float]) -> list[float]:
    """Log-probs to six decimals, as they are written."""
    # float32 is no finer than this, and the file is half as long.
    return [round(value, 6) for value in logprobs]
