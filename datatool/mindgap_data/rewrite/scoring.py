"""The scoring job: policy log-probs for rows that have a response, rewritten ones or plain demonstrations."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mindgap_data.agreement import vocabulary_error
from mindgap_data.engines import Engine, EngineIdentity, Failure, Sampling, Score, Scores
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import load_tokenizer
from mindgap_data.record import Attempts, PolicyIdentity, Provenance, Record
from mindgap_data.rewrite.records import Response, build_record, demonstrated, policy_identity, rounded, run_provenance
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.jsonl import RawRow, raw_line, raw_of_line
from mindgap_data.rows.problem import to_demonstration
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import RecordWriter
from mindgap_data.run.job import FailedRow, Finished, RunResult, per_row
from mindgap_data.run.outcomes import Attempt, Outcome
from mindgap_data.run.scheduler import Steps, Task


@dataclass(frozen=True)
class ScoreRequest:
    """Everything a user asks of a scoring run."""

    rows: InputRows
    policy: Policy
    score_expert: bool  # also the expert's text of rows that carry another response
    sampling: Sampling = field(default_factory=Sampling)  # nothing is drawn

    def pool(self) -> AbstractContextManager[None]:
        """Nothing is checked."""
        return nullcontext()

    def engine(self, quiet: bool) -> AbstractContextManager[Engine]:
        """The policy in its engine."""
        return running_engine(self.policy, self.sampling, quiet=quiet)

    def tokenizer(self) -> ChatTokenizer:
        """The engine's, without the engine."""
        return load_tokenizer(self.policy.spec)

    def job(self, engine: EngineIdentity) -> "ScoreJob":
        """The job, once the engine is known."""
        spec = self.policy.spec
        provenance = run_provenance(spec, engine, sampling={}, selection="none", verifier="none", seed=0)
        return ScoreJob(self.rows, engine.tokenizer, provenance, policy_identity(spec, engine), self.score_expert)

    def lines(self) -> Iterator[str]:
        """The rows to score, each as a line of JSON."""
        return map(raw_line, self.rows.read())

    def elsewhere(self) -> "ScoreRequest":
        """The same for a machine that gets its rows one by one, and need not have the file."""
        return replace(self, rows=self.rows.elsewhere())


@dataclass(frozen=True)
class ScoreJob:
    """Scores the rows of a source: a :class:`mindgap_data.run.job.Job` of records."""

    rows: InputRows
    tokenizer: ChatTokenizer
    provenance: Provenance  # of a record made of a plain demonstration
    policy: PolicyIdentity  # whose log-probs these are
    score_expert: bool  # also the expert's text of rows that carry another response
    name: str = "score"
    done: str = "scored"

    @property
    def source(self) -> str:
        """The input, as the user named it."""
        return self.rows.source.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """What must not change between a run and its continuation."""
        return {
            "command": "score",
            **self.policy.model_dump(exclude_unset=True),
            "tokenizer": self.tokenizer.fingerprint,
            "chat_template": self.tokenizer.template,
            **self.rows.settings(),
            "score_expert": self.score_expert,
        }

    def total(self) -> int | None:
        """Rows to come, where that is known."""
        return self.rows.total()

    def tasks(self) -> Iterator[Task[Finished[Record] | FailedRow]]:
        """A task a row."""
        return map(self._task, self.rows.read())

    def task(self, line: str) -> Task[Finished[Record] | FailedRow]:
        """The task of a row that another machine has read."""
        return self._task(raw_of_line(line))

    def encode(self, record: Record) -> Any:
        """A record as JSON, on its way from another machine."""
        return record.as_row()

    def decode(self, row: Any) -> Record:
        """The inverse of :meth:`encode`."""
        return Record.from_row(row)

    def keep(self, attempt: Attempt) -> Attempt:
        """Nothing is drawn."""
        return attempt

    def writer(self, path: Path) -> RecordWriter:
        """The output file."""
        return RecordWriter(path, self.tokenizer)

    def add(self, record: Record) -> str:
        """Every row counts the same."""
        return "scored"

    def summary(self, result: RunResult) -> None:
        """The file says it all."""

    def _task(self, raw: RawRow) -> Task[Finished[Record] | FailedRow]:
        shown = raw.text if raw.row is None else raw.row
        return Task(per_row(partial(self._score, raw), raw.line, (raw.row or {}).get("id"), shown))

    def _score(self, raw: RawRow) -> Steps[Record]:
        if raw.row is None:
            raise RowError(raw.error or "unreadable")
        if "response_token_ids" in raw.row and "tier" in raw.row:
            return (yield from self._refresh(raw.line, raw.row))
        return (yield from self._demonstration(raw.line, raw.row))

    def _refresh(self, line: int, row: Mapping[str, Any]) -> Steps[Record]:
        """A record with its policy log-probs, and its expert's, under this policy."""
        try:
            record = Record.from_row(row)
        except ValueError as fault:
            raise RowError(str(fault)) from None
        tokenizer = self.tokenizer
        for name, own in (("tokenizer", tokenizer.fingerprint), ("chat_template", tokenizer.template)):
            theirs = getattr(record.provenance, name)
            if theirs != own:
                raise RowError(f"provenance.{name} is {theirs}, this model's is {own}: other ids or prompts")
        if (beyond := vocabulary_error(record.response_token_ids, tokenizer.vocabulary)) is not None:
            raise RowError(beyond)
        prompt = tokenizer.prompt_ids(row["messages"][:-1], record.tools)
        requests = [Score(f"{line}/policy_logprobs", prompt, tuple(record.response_token_ids))]
        if expert := self.score_expert or record.expert_logprobs is not None:
            record.expert_token_ids = list(
                record.expert_token_ids or tokenizer.demonstration_ids(record.expert, record.expert_reasoning)
            )
            if (beyond := vocabulary_error(record.expert_token_ids, tokenizer.vocabulary)) is not None:
                raise RowError(f"expert_{beyond.removeprefix('response_')}")
            requests.append(Score(f"{line}/expert_logprobs", prompt, tuple(record.expert_token_ids)))
        outcomes = yield requests
        record.policy_logprobs = rounded(_logprobs(outcomes[0]))
        if expert:
            record.expert_logprobs = rounded(_logprobs(outcomes[1]))
        record.provenance.policy = self.policy
        return record

    def _demonstration(self, line: int, row: Mapping[str, Any]) -> Steps[Record]:
        """A plain demonstration as a record of the expert tier."""
        problem = to_demonstration(row, self.rows.fields)
        if self.tokenizer.lacks_thought(problem.expert, problem.thought):
            raise RowError("the demonstration has no thought (--expert-thinking skip)")
        problem, ids = demonstrated(problem, self.tokenizer)
        prompt = self.tokenizer.prompt_ids(problem.messages, problem.tools)
        (outcome,) = yield [Score(f"{line}/policy_logprobs", prompt, ids)]
        logged = None if problem.expert_logprobs is None else tuple(problem.expert_logprobs)
        text = self.tokenizer.response_text(ids)
        response = Response("expert", text, ids, logged, _logprobs(outcome))
        attempts = Attempts.model_validate({"pass_rate": None, "expert_overlap": None, "near_copy": None})
        provenance = self.provenance.model_copy(update={"behavior": None if logged is None else "logged"})
        return build_record(problem, response, self.tokenizer, attempts, provenance)


def _logprobs(outcome: Outcome) -> tuple[float, ...]:
    if isinstance(outcome, Failure):
        raise RowError(f"the engine could not score: {outcome.reason}")
    assert isinstance(outcome, Scores)
    return outcome.logprobs
