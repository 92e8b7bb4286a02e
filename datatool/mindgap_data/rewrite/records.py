"""The one builder of records: a problem, the response chosen for it, its draw counts and provenance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mindgap_data import __version__
from mindgap_data.agreement import decoding_error, vocabulary_error
from mindgap_data.engines import EngineIdentity
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, adapter_fingerprint
from mindgap_data.record import SCHEMA_VERSION, Attempts, Hint, PolicyIdentity, Provenance, Record, Tier
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.values import RowError


@dataclass(frozen=True)
class Response:
    """The response a record carries, with its log-probs: one per id, nats."""

    tier: Tier
    text: str
    token_ids: tuple[int, ...]
    behavior: tuple[float, ...] | None
    policy: tuple[float, ...] | None  # None until scored
    hint: Hint | None = None  # of a guided response


def policy_identity(spec: ModelSpec, engine: EngineIdentity) -> PolicyIdentity:
    """Whose log-probs an engine that runs ``spec`` gives."""
    weights = adapter_fingerprint(spec.adapter)
    return PolicyIdentity(
        model=spec.model,
        revision=engine.revision,
        adapter=spec.adapter,
        engine=engine.name,
        dtype=engine.dtype,
        **({} if weights is None else {"adapter_weights": weights}),
    )


def run_provenance(spec: ModelSpec, engine: EngineIdentity, **settings: object) -> Provenance:
    """What is the same for every row of a run; ``settings`` are further fields of :class:`Provenance`."""
    return Provenance.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            "tool_version": __version__,
            **policy_identity(spec, engine).model_dump(exclude_unset=True),
            "tokenizer": engine.tokenizer.fingerprint,
            "chat_template": engine.tokenizer.template,
            **({"chat_template_kwargs": dict(arguments)} if (arguments := engine.tokenizer.arguments) else {}),
            **({"stops": list(spec.stops)} if spec.stops else {}),
            **({"expert_thinking": thinking} if (thinking := engine.tokenizer.expert_thinking) else {}),
            **settings,
        }
    )


def scored_by(provenance: Provenance) -> PolicyIdentity:
    """Whose policy_logprobs a row has: of the policy that last scored it, else of the one that wrote it."""
    if provenance.policy is not None:
        return provenance.policy
    own = provenance.model_dump(include=set(PolicyIdentity.model_fields), exclude_unset=True)
    return PolicyIdentity.model_validate(own)


def build_record(
    problem: Problem, response: Response, tokenizer: ChatTokenizer, attempts: Attempts, provenance: Provenance
) -> Record:
    """The record of a problem; columns of its row that are no record fields pass through."""
    return Record.model_validate(
        {
            "id": problem.id,
            "messages": [*problem.messages, tokenizer.turn(response.token_ids)],
            "tier": response.tier,
            **({} if response.hint is None else {"hint": response.hint}),
            "response_token_ids": list(response.token_ids),
            "behavior_logprobs": None if response.behavior is None else rounded(response.behavior),
            "policy_logprobs": rounded(response.policy or ()),
            "answer": problem.answer,
            "expert": problem.expert,
            "attempts": attempts,
            "provenance": provenance,
            **problem.extra,
            **({} if problem.tools is None else {"tools": problem.tools}),
            **({} if problem.thought is None else {"expert_reasoning": problem.thought}),
        }
    )


def demonstrated(problem: Problem, tokenizer: ChatTokenizer) -> tuple[Problem, tuple[int, ...]]:
    """The problem with its demonstration in the policy's own words for tool calls, and the demonstration's ids.

    Raises:
        RowError, UserError: as of :func:`expert_ids`.
    """
    ids = expert_ids(problem, tokenizer)
    return (problem if problem.calling is None else replace(problem, expert=tokenizer.turn(ids)["content"])), ids


def expert_ids(problem: Problem, tokenizer: ChatTokenizer) -> tuple[int, ...]:
    """Ids of the demonstration: the row's own where it brings log-probs of them, else the tokenizer's.

    Raises:
        RowError: the row's own are not the demonstration's under this tokenizer.
    """
    if problem.expert_token_ids is None:
        if problem.calling is not None:
            return tokenizer.call_ids(problem.messages, problem.calling, problem.tools)
        return tokenizer.demonstration_ids(problem.expert, problem.thought)
    ids = tuple(problem.expert_token_ids)
    fault = vocabulary_error(ids, tokenizer.vocabulary) or decoding_error(
        ids, problem.expert, problem.thought, tokenizer
    )
    if fault is not None:
        raise RowError(
            f"{fault}: ids and behavior_logprobs of another tokenizer; remove both columns, or name the --tokenizer "
            "they are of"
        )
    return ids


def rounded(logprobs: Sequence[float]) -> list[float]:
    """Log-probs to six decimals, as they are written."""
    # float32 is no finer than this, and the file is half as long.
    return [round(value, 6) for value in logprobs]
