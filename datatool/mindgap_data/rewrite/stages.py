"""What happens to one problem: draw from the plain prompt, then guided, else take the expert; then score."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import cast

from mindgap_data.engines import Failure, Request, Sampling, Score, Scores
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.record import Attempts, Hint, Provenance, Record, Resampling, StageCounts, Tier, stage_of
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.leaks import NEAR_COPY, mentions_reference, ngram_overlap
from mindgap_data.rewrite.pickers import SCORING, Picker, pick, resample, selection_name, uniform_number
from mindgap_data.rewrite.previous import KEEP_WITHIN, after_round, drift_ratio, is_kept, kept_provenance
from mindgap_data.rewrite.records import Response, build_record, demonstrated, rounded
from mindgap_data.rewrite.working import only_answers
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.values import RowError
from mindgap_data.run.outcomes import Attempt, Outcome
from mindgap_data.run.scheduler import Ask, Steps, draw
from mindgap_data.verify.load import load_verifier, verifier_kind

COUNTED = ("sampled", "correct", "wrong", "truncated", "no_answer", "checker_error", "leaked")


@dataclass(frozen=True)
class RewriteOptions:
    """How problems are rewritten, as the user asks."""

    stages: tuple[Tier, ...]  # in order; "expert" is the fallback
    samples: int  # cap on draws per stage
    picker: Picker
    guided: tuple[GuidedPrompt, ...]  # the ladder of hints, from the least help to the most
    score_expert: bool  # also the expert's log-probs where another tier is chosen
    seed: int
    round: int = 0
    keep_within: float = KEEP_WITHIN  # C: an earlier response is kept at a ratio in [1/C, C]
    guided_picker: Picker | None = None  # of the guided stages; None: the same
    sir_power: float = 1.0  # of the weights in importance resampling
    require_working: bool = False  # of a guided response to the whole solution, too

    @property
    def drawing(self) -> tuple[str, ...]:
        """The stages that draw, as they are counted; the expert is what is left when they find nothing."""
        names = {"self": ("self",), "guided": tuple(one.stage for one in self.guided), "expert": ()}
        return tuple(name for stage in self.stages for name in names[stage])

    def picker_of(self, tier: Tier) -> Picker:
        """The picker among the correct draws of a tier's stages."""
        return self.guided_picker or self.picker if tier == "guided" else self.picker


@dataclass(frozen=True)
class Plan:
    """What a single problem needs to know of its run."""

    options: RewriteOptions
    tokenizer: ChatTokenizer
    sampling: Sampling
    max_context: int  # of the engine, tokens: prompt + response of any draw
    sequence_len: int  # of training, tokens: plain prompt + response
    provenance: Provenance  # what is the same for every row


@dataclass(frozen=True)
class _Stage:
    """A prompt to draw from."""

    name: str  # in ``attempts`` and in the keys of its draws
    tier: Tier
    hint: Hint | None
    prompt: tuple[int, ...]
    picker: Picker


def rewrite_problem(problem: Problem, plan: Plan, earlier: Record | None = None) -> Steps[Record]:
    """The whole way of one problem, as the scheduler runs it.

    Args:
        problem: the problem.
        plan: what it needs to know of its run.
        earlier: its record of the round before. Before a stage draws, the response that this stage gave then is
            scored, and kept where the policy still finds it likely.

    Raises:
        RowError: it cannot be rewritten; the message says why.
    """
    prompt = plan.tokenizer.prompt_ids(problem.messages, problem.tools)
    problem, demonstration = demonstrated(problem, plan.tokenizer)
    if len(prompt) >= plan.sequence_len:
        raise RowError(f"the prompt is {len(prompt)} tokens long, the context holds {plan.sequence_len}")
    counts: dict[str, StageCounts] = {}
    chosen: Response | None = None
    resampling: Resampling | None = None
    ratio: float | None = None
    kept = False
    for stage in _stages(problem, prompt, plan):
        if earlier is not None and _stage_of(earlier) == stage.name:
            chosen, ratio = yield from _reconsider(problem, earlier, prompt, plan)
            if kept := chosen is not None:
                if (then := earlier.attempts.by_stage().get(stage.name)) is not None:
                    counts[stage.name] = then
                resampling = earlier.attempts.resampling
                break
        correct, counts[stage.name] = yield from _draw(problem, stage, prompt, plan)
        if correct:
            candidates = _candidates(correct, stage, plan)
            chosen, resampling = yield from _pick(candidates, counts[stage.name].sampled, stage, problem, prompt, plan)
            break
    if chosen is None:
        chosen = _expert(problem, prompt, demonstration, counts, plan)
    chosen, expert_logprobs = yield from _score(problem, chosen, prompt, demonstration, plan)
    provenance = _provenance(problem, chosen, plan)
    if earlier is not None:
        own = kept_provenance(earlier.provenance, plan.provenance) if kept else provenance
        provenance = after_round(own, earlier, ratio)
    attempts = _attempts(problem, chosen, counts, resampling, provenance)
    record = build_record(problem, chosen, plan.tokenizer, attempts, provenance)
    if expert_logprobs is not None:
        record.expert_token_ids, record.expert_logprobs = list(demonstration), rounded(expert_logprobs)
    return record


def _reconsider(
    problem: Problem, earlier: Record, plain: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request] | Ask, Sequence[Outcome], tuple[Response | None, float | None]]:
    """The earlier response where the policy still finds it likely, else None; and its ratio where it was scored."""
    ids, behavior = tuple(earlier.response_token_ids), tuple(earlier.behavior_logprobs or ())
    if len(plain) + len(ids) > plan.sequence_len:
        return None, None
    (outcome,) = yield [Score(f"{problem.id}/earlier/{earlier.tier}", plain, ids)]
    if not isinstance(outcome, Scores):
        return None, None
    ratio = drift_ratio(outcome.logprobs, behavior)
    if not is_kept(ratio, plan.options.keep_within):
        return None, ratio
    text = plan.tokenizer.response_text(ids)
    return Response(earlier.tier, text, ids, behavior, outcome.logprobs, earlier.hint), ratio


def _stage_of(record: Record) -> str:
    """The stage that gave a record's response."""
    return stage_of(record.hint or "full") if record.tier == "guided" else record.tier


def _stages(problem: Problem, plain: tuple[int, ...], plan: Plan) -> Iterator[_Stage]:
    """The prompts to draw from, one after the other; a hint that this problem does not allow is left out."""
    options = plan.options
    if "self" in options.stages:
        yield _Stage("self", "self", None, plain, options.picker_of("self"))
    if "guided" in options.stages:
        for guided in options.guided:
            messages = guided.messages(problem.messages, problem.expert, problem.answer)
            if messages is not None:
                prompt = plan.tokenizer.prompt_ids(messages, problem.tools)
                yield _Stage(guided.stage, "guided", guided.hint, prompt, options.picker_of("guided"))


def _draw(
    problem: Problem, stage: _Stage, plain: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request] | Ask, Sequence[Outcome], tuple[list[Attempt], StageCounts]]:
    """Draw up to the cap; return the correct draws and the counts."""
    options, counts = plan.options, StageCounts(**dict.fromkeys(COUNTED, 0))
    # The response is trained on behind the plain prompt, and drawn behind the stage's own.
    room = min(plan.sampling.max_tokens, plan.sequence_len - len(plain), plan.max_context - len(stage.prompt))
    if room < 1:
        return [], counts
    # The first correct draw of an i.i.d. sequence has the law of a uniform pick among the correct ones.
    at_once = 1 if stage.picker == "first" else options.samples
    # A later round draws anew, not with the random numbers of the one before.
    key = f"{problem.id}/{stage.name}" if options.round == 0 else f"{problem.id}/round {options.round}/{stage.name}"
    draws = [draw(f"{key}/{n}", stage.prompt, options.seed, room) for n in range(options.samples)]
    correct: list[Attempt] = []
    for start in range(0, options.samples, at_once):
        outcomes = yield Ask(draws[start : start + at_once], later=draws[start + at_once :])
        attempts = [outcome for outcome in outcomes if isinstance(outcome, Attempt)]
        if lost := len(outcomes) - len(attempts):
            counts.unserved += lost
        correct += [attempt for attempt in attempts if _count(attempt, stage, problem, plan, counts) == "correct"]
        if correct:
            break
    return correct, counts


def _count(attempt: Attempt, stage: _Stage, problem: Problem, plan: Plan, counts: StageCounts) -> str:
    """Put a draw into exactly one count, and say which."""
    kind: str = attempt.verdict
    if kind == "correct" and stage.hint is not None:
        if mentions_reference(attempt.text, "\n".join(str(turn.get("content") or "") for turn in problem.messages)):
            kind = "leaked"
        # Shown the answer alone, or the beginning, who only states the answer has solved nothing.
        elif (stage.hint != "full" or plan.options.require_working) and only_answers(attempt.text, problem.expert):
            kind = "bare"
    counts.sampled += 1
    setattr(counts, kind, getattr(counts, kind) + 1)
    return kind


def _candidates(correct: list[Attempt], stage: _Stage, plan: Plan) -> list[Response]:
    """The correct draws as responses, in the order drawn."""
    # Drawn from the plain prompt and the model's own distribution, the behaviour log-probs are the policy's.
    known = stage.tier == "self" and plan.sampling.is_model_distribution
    return [
        Response(stage.tier, a.text, a.token_ids, a.logprobs, a.logprobs if known else None, stage.hint)
        for a in correct
    ]


def _pick(
    candidates: list[Response], drawn: int, stage: _Stage, problem: Problem, plain: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request] | Ask, Sequence[Outcome], tuple[Response, Resampling | None]]:
    """The chosen one of the correct responses, and how it was resampled where it was."""
    alone = len(candidates) == 1 and stage.picker != "sir"
    if stage.picker in SCORING and not alone and candidates[0].policy is None:
        keys = [f"{problem.id}/{stage.name}/candidate/{n}" for n in range(len(candidates))]
        scores = yield [Score(key, plain, one.token_ids) for key, one in zip(keys, candidates, strict=True)]
        candidates = [replace(one, policy=_scored(score)) for one, score in zip(candidates, scores, strict=True)]
    if stage.picker != "sir":
        return pick(stage.picker, candidates), None
    uniform = uniform_number(plan.options.seed, f"{problem.id}/{stage.name}/pick")
    resampling = resample(candidates, drawn, uniform, plan.options.sir_power)
    return candidates[resampling.chosen], resampling


def _expert(
    problem: Problem, prompt: tuple[int, ...], ids: tuple[int, ...], counts: Mapping[str, StageCounts], plan: Plan
) -> Response:
    if "expert" not in plan.options.stages:
        raise RowError(f"no correct response in stages {', '.join(plan.options.stages)}{_unserved(counts)}")
    if plan.tokenizer.lacks_thought(problem.expert, problem.thought):
        raise RowError("no correct response, and the expert's has no thought (--expert-thinking skip)")
    if len(prompt) + len(ids) > plan.sequence_len:
        raise RowError(
            "no correct response, and the expert's does not fit: "
            f"prompt + response are {len(prompt) + len(ids)} tokens, the context holds {plan.sequence_len}"
        )
    logged = problem.expert_logprobs
    if logged is not None and len(logged) != len(ids):
        raise RowError(f"the input's behavior_logprobs has {len(logged)} values for the expert's {len(ids)} tokens")
    return Response("expert", plan.tokenizer.response_text(ids), ids, tuple(logged) if logged else None, None)


def _unserved(counts: Mapping[str, StageCounts]) -> str:
    number = sum(one.unserved for one in counts.values())
    return f" ({number} requests could not be served by the engine)" if number else ""


def _score(
    problem: Problem, chosen: Response, prompt: tuple[int, ...], demonstration: tuple[int, ...], plan: Plan
) -> Generator[Sequence[Request] | Ask, Sequence[Outcome], tuple[Response, tuple[float, ...] | None]]:
    """Policy log-probs of the chosen response, and of the expert's where wanted and it fits."""
    wanted: dict[str, tuple[int, ...]] = {}
    if chosen.policy is None:
        wanted["chosen"] = chosen.token_ids
    if plan.options.score_expert and chosen.tier != "expert" and len(prompt) + len(demonstration) <= plan.max_context:
        wanted["expert"] = demonstration
    requests = [Score(f"{problem.id}/score/{what}", prompt, ids) for what, ids in wanted.items()]
    scored = dict(zip(wanted, (yield requests), strict=True)) if requests else {}
    if "chosen" in scored:
        chosen = replace(chosen, policy=_scored(scored["chosen"]))
    if chosen.tier == "expert":
        return chosen, chosen.policy if plan.options.score_expert else None
    expert = scored.get("expert")  # a failure costs the row nothing but this
    return chosen, expert.logprobs if isinstance(expert, Scores) else None


def _scored(outcome: Outcome) -> tuple[float, ...]:
    if isinstance(outcome, Failure):
        raise RowError(f"the engine could not score: {outcome.reason}")
    return cast(Scores, outcome).logprobs


def _attempts(
    problem: Problem,
    chosen: Response,
    counts: Mapping[str, StageCounts],
    resampling: Resampling | None,
    provenance: Provenance,
) -> Attempts:
    # Draws that nobody checked have no pass rate.
    own = None if provenance.verifier_kind == "unchecked" else counts.get("self")
    overlap = None if chosen.tier == "expert" else round(ngram_overlap(chosen.text, problem.expert), 4)
    return Attempts.model_validate(
        {
            **counts,
            "pass_rate": own.correct / own.sampled if own and own.sampled else None,
            "expert_overlap": overlap,
            "near_copy": None if overlap is None else overlap >= NEAR_COPY,
            **({} if resampling is None else {"resampling": resampling}),
        }
    )


def _provenance(problem: Problem, chosen: Response, plan: Plan) -> Provenance:
    own = {"verifier": problem.verifier, "verifier_kind": kind_of(problem.verifier)} if problem.verifier else {}
    drawn = "model" if plan.sampling.is_model_distribution else "processed"
    source = "logged" if chosen.tier == "expert" else drawn
    return plan.provenance.model_copy(
        update={
            **own,
            "selection": selection_name(plan.options.picker_of(chosen.tier), plan.options.sir_power),
            "behavior": None if chosen.behavior is None else source,
            "behavior_prompt": {"self": "plain", "guided": "guided"}.get(chosen.tier),
        }
    )


@cache
def kind_of(verifier: str) -> str:
    """Whether a verifier that a row names checks answers or judges them."""
    return verifier_kind(load_verifier(verifier))
