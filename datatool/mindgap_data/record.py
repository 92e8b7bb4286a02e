"""The record: one rewritten row, schema version 1. Both the data tool and the plugin read it from here."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mindgap_data.agreement import Decoder, alignment_error, decoding_error, is_logprob, vocabulary_error

SCHEMA_VERSION = 1
Tier = Literal["self", "guided", "expert"]
TIERS: tuple[Tier, ...] = ("self", "guided", "expert")
Hint = Literal["answer", "partial", "full"]
HINTS: tuple[Hint, ...] = ("answer", "partial", "full")  # from the least help to the most


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="allow")

    role: str = Field(description="system, user, assistant or tool")
    content: str = Field(description="the turn's text")
    reasoning_content: str | None = Field(None, description="what the model thought before it; optional")


class StageCounts(BaseModel):
    """What became of the draws of one stage. Every draw is in exactly one of the counts below ``sampled``."""

    model_config = ConfigDict(extra="forbid")

    sampled: int = Field(0, ge=0, description="responses drawn")
    correct: int = Field(0, ge=0, description="complete, accepted by the verifier, no leak")
    wrong: int = Field(0, ge=0, description="complete, verified wrong")
    truncated: int = Field(0, ge=0, description="hit the token limit before the end of the turn")
    no_answer: int = Field(0, ge=0, description="complete, but no answer found in it")
    checker_error: int = Field(0, ge=0, description="the verifier failed, timed out or ran out of memory")
    leaked: int = Field(0, ge=0, description="correct, but mentions the reference solution it was shown")
    bare: int = Field(0, ge=0, description="correct, but only states the answer, in a stage that asks for working")
    unserved: int = Field(0, ge=0, description="requests the engine could not serve; not in ``sampled``")


class Resampling(BaseModel):
    """How one of the correct draws was chosen by importance resampling (``--pick-guided sir``)."""

    model_config = ConfigDict(extra="forbid")

    log_weights: list[float] = Field(
        description="log pi_0(y | plain prompt) - log mu(y | what the sampler saw) of each correct draw, in the order "
        "drawn, nats"
    )
    chosen: int = Field(ge=0, description="which of them the response is, from 0")
    ess: float = Field(ge=0, description="effective sample size of their weights: from 1 to their number")
    mean: float = Field(
        ge=0,
        description="sum of their weights over all draws of the stage: an unbiased estimate of the plain prompt's pass "
        "rate, if a stage without a correct draw counts as 0",
    )


class Attempts(BaseModel):
    """Draw counts by stage, and what they say of the problem."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    self_: StageCounts | None = Field(None, alias="self", description="draws from the plain prompt")
    guided_answer: StageCounts | None = Field(None, description="draws with the answer as a hint")
    guided_partial: StageCounts | None = Field(None, description="draws with the first part of the solution as a hint")
    guided: StageCounts | None = Field(None, description="draws from the guided prompt, with the whole solution")
    pass_rate: float | None = Field(
        None,
        ge=0,
        le=1,
        description="self stage, correct / sampled (the maximum-likelihood estimate, biased upward by early "
        "stopping); null when the self stage did not run, or nobody checked its draws",
    )
    expert_overlap: float | None = Field(
        None, ge=0, le=1, description="share of the response's word 8-grams that stand in the expert's text"
    )
    near_copy: bool | None = Field(None, description="expert_overlap of a self or guided response is 0.6 or more")
    resampling: Resampling | None = Field(None, description="of a guided response chosen by importance resampling")

    def by_stage(self) -> dict[str, StageCounts]:
        """The counts of every stage that drew."""
        stages = {
            "self": self.self_,
            "guided_answer": self.guided_answer,
            "guided_partial": self.guided_partial,
            "guided": self.guided,
        }
        return {stage: counts for stage, counts in stages.items() if counts is not None}


class PolicyIdentity(BaseModel):
    """Whose log-probs these are."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    model: str = Field(description="a hub name, 'builtin:…' or a path as the user gave it")
    revision: str | None = Field(None, description="hub revision, or a fingerprint of the local weights")
    adapter: str | None = Field(None, description="LoRA adapter on top of the model")
    engine: str = Field(description="transformers, vllm or openai")
    dtype: str | None = Field(None, description="what the model computed in")
    adapter_weights: str | None = Field(None, description="fingerprint of a local adapter's weights")


class Round(PolicyIdentity):
    """An earlier round of a row: whose policy_logprobs it had then, and what it came to."""

    round: int = Field(ge=0, description="its number")
    tier: Tier = Field(description="the tier of the response it ended with")
    seed: int = Field(description="that run's seed")
    attempts: Attempts = Field(description="draws by stage, as recorded then")
    ratio: float | None = Field(
        None,
        description="exp(mean(log pi - behavior_logprobs)) of that response under the policy of the round after it; "
        "null where that round did not score it",
    )


class Provenance(BaseModel):
    """Which distribution the log-probs are of, and how the row came to be."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    schema_version: int = Field(SCHEMA_VERSION, description="version of this schema")
    tool_version: str = Field(description="mindgap version that wrote the row")
    model: str = Field(description="the policy: a hub name, 'builtin:…' or a path as the user gave it")
    revision: str | None = Field(None, description="hub revision, or a fingerprint of the local weights")
    adapter: str | None = Field(None, description="LoRA adapter on top of the model")
    engine: str = Field(description="transformers, vllm or openai")
    dtype: str | None = Field(None, description="what the model computed in")
    adapter_weights: str | None = Field(None, description="fingerprint of a local adapter's weights")
    tokenizer: str = Field(description="fingerprint of the vocabulary, see tokenizer_fingerprint")
    chat_template: str = Field(
        description="fingerprint of the chat template and its arguments, see template_fingerprint"
    )
    chat_template_kwargs: dict[str, Any] | None = Field(
        None, description="arguments of the chat template, such as enable_thinking; none where absent"
    )
    expert_thinking: Literal["none", "empty", "skip"] | None = Field(
        None, description="how a demonstration without a thought was written; absent where the template knows none"
    )
    stops: list[str] | None = Field(None, description="further tokens that ended a draw (--stop); none where absent")
    sampling: dict[str, Any] = Field(description="every sampling parameter as sent")
    selection: str = Field(description="picker: first, grape, shortest or sir (sir:POWER if tempered)")
    verifier: str = Field(description="verifier that accepted the response")
    verifier_kind: str | None = Field(
        None, description="'checked' (an answer compared, a test run), 'judged' (a model's opinion) or 'unchecked'"
    )
    seed: int = Field(description="the run's seed")
    round: int = Field(0, ge=0, description="0 for data of the base model, n after the n-th retraining")
    behavior: str | None = Field(
        None,
        description="what behavior_logprobs are log-probs of: 'model' (T=1, untruncated), 'processed' (after "
        "temperature, top_p, …), 'logged' (came with the input); null for none",
    )
    behavior_prompt: Literal["plain", "guided"] | None = Field(None, description="the prompt the sampler saw")
    policy: PolicyIdentity | None = Field(
        None, description="whose policy_logprobs these are, where `score` or a later round has refreshed them since"
    )
    rounds: list[Round] | None = Field(None, description="the row's earlier rounds, oldest first; null in the first")
    drawn_in: int | None = Field(
        None,
        ge=0,
        description="the round that drew the response, where a later one kept it: model, adapter, sampling, verifier "
        "and seed are that round's, and `policy` is this one's",
    )
    training_step: int | None = Field(
        None, ge=0, description="the step of the training run whose adapter drew the row (`refresh`); absent elsewhere"
    )
    replaced_tier: Tier | None = Field(None, description="the tier of the response that `select` replaced")


class Record(BaseModel):
    """One row of a rewritten file. Unknown columns of the input pass through as extra fields."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    id: str = Field(description="the input's id, or a content hash of prompt + reference")
    messages: list[Message] = Field(
        min_length=1, description="the conversation; the last turn is the assistant's chosen response"
    )
    tier: Tier = Field(description="the stage that produced the response")
    hint: Hint | None = Field(
        None,
        description="guided rows: what the sampler was shown, the answer alone, the first part of the solution, or all "
        "of it",
    )
    response_token_ids: list[int] = Field(
        min_length=1, description="exact ids sampled (or of the expert's text), end-of-turn token included"
    )
    behavior_logprobs: list[float] | None = Field(
        description="log mu(y_t | what the sampler saw), nats, one per id; null for expert rows unless logged"
    )
    policy_logprobs: list[float] = Field(
        description="log pi_0(y_t | plain prompt), temperature 1, untruncated, nats, one per id"
    )
    answer: str = Field(description="reference answer the response was checked against")
    expert: str = Field(description="the expert demonstration")
    tools: str | list[Any] | None = Field(
        None,
        description="functions the model is offered, as JSON text; optional. A list is a column of an older file "
        "that no prompt shows",
    )
    expert_reasoning: str | None = Field(None, description="what the expert thought before it; optional")
    attempts: Attempts = Field(description="draws by stage")
    provenance: Provenance = Field(description="how the row came to be")
    expert_token_ids: list[int] | None = Field(
        None, description="ids of the expert's text, end-of-turn token included; optional"
    )
    expert_logprobs: list[float] | None = Field(
        None, description="log pi_0 of those ids under the plain prompt, temperature 1: the gap before; optional"
    )

    def as_row(self) -> dict[str, Any]:
        """The row as it is written: what was set, the input's other columns after the record's own fields."""
        row = self.model_dump(by_alias=True, exclude_unset=True)
        # Optional fields stand last, behind the columns that pass through.
        optional = ("tools", "expert_reasoning", "expert_token_ids", "expert_logprobs")
        return row | {name: row.pop(name) for name in optional if name in row}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Record":
        """The record a row holds.

        Raises:
            ValueError: it is not a valid record of a known version; field and cause in one line.
        """
        provenance = row.get("provenance")
        version = provenance.get("schema_version", SCHEMA_VERSION) if isinstance(provenance, dict) else SCHEMA_VERSION
        if version != SCHEMA_VERSION:
            raise ValueError(f"provenance.schema_version is {version}; this mindgap reads version {SCHEMA_VERSION}")
        try:
            # Strict: what other readers would choke on, such as ids written as text, is not read here either.
            record = cls.model_validate(row, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "row"
            raise ValueError(f"field {where}: {first['msg'].lower()}") from None
        if record.messages[-1].role != "assistant":
            role = record.messages[-1].role
            raise ValueError(f"field messages: the last turn is {role!r}, not the assistant's response")
        if (fault := agreement_error(record)) is not None:
            raise ValueError(fault)
        return record


def stage_of(hint: Hint) -> str:
    """The stage that draws with a hint, as its draws are counted: guided_answer, guided_partial or guided."""
    return "guided" if hint == "full" else f"guided_{hint}"


def json_schema() -> dict[str, Any]:
    """JSON Schema of a record, generated from the model."""
    schema = Record.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"mindgap record, version {SCHEMA_VERSION}",
    }


def agreement_error(record: Record, decoder: Decoder | None = None) -> str | None:
    """Why a record's ids, log-probs and text do not agree, or None when they do.

    Args:
        record: the record.
        decoder: the policy's tokenizer; without it the text is not compared.
    """
    ids = record.response_token_ids
    fault = alignment_error(ids, record.behavior_logprobs, record.policy_logprobs, record.tier) or _expert_error(record)
    if fault is None and decoder is not None:
        last = record.messages[-1]
        fault = vocabulary_error(ids, decoder.vocabulary) or decoding_error(
            ids, last.content, last.reasoning_content, decoder
        )
    return fault


def record_error(row: Mapping[str, Any]) -> str | None:
    """Why ``row`` is not a valid record of a known version, or None: field and cause in one line."""
    try:
        Record.from_row(row)
    except ValueError as error:
        return str(error)
    return None


def _expert_error(record: Record) -> str | None:
    """Why the expert's own ids and log-probs, where a row has them."""
    ids, logprobs = record.expert_token_ids, record.expert_logprobs
    if logprobs is None:
        return None
    if ids is None or len(ids) != len(logprobs):
        return f"expert_logprobs has {len(logprobs)} values for {len(ids or [])} expert_token_ids"
    if not all(map(is_logprob, logprobs)):
        return "expert_logprobs holds a value that is not a log-probability"
    return None
