"""The rewriting job: every row of a source on its way to a record, and the tally of what became of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from mindgap_data.engines import Engine, EngineIdentity, Sampling
from mindgap_data.engines.open import Policy, running_engine
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import load_tokenizer
from mindgap_data.record import TIERS, Hint, Record
from mindgap_data.rewrite.pickers import selection_name
from mindgap_data.rewrite.previous import PreviousRound
from mindgap_data.rewrite.records import run_provenance
from mindgap_data.rewrite.stages import Plan, RewriteOptions, rewrite_problem
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.jsonl import RawRow, dumps, loads, raw_line, raw_of_line
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.values import RowError
from mindgap_data.rows.writing import RecordWriter
from mindgap_data.run.job import FailedRow, Finished, RunResult, per_row
from mindgap_data.run.keyindex import KeyIndex
from mindgap_data.run.outcomes import Attempt
from mindgap_data.run.scheduler import Steps, Task
from mindgap_data.run.shards import Shard
from mindgap_data.verify.pool import VerifierPool
from mindgap_data.verify.settings import VerifierSettings


@dataclass(frozen=True)
class RewriteSummary:
    """The numbers of the closing table."""

    rows: int
    rewritten: int
    failed: int
    tiers: Mapping[str, int]
    hints: Mapping[Hint, int]  # rows of the guided tier, by what the sampler was shown
    pass_rate: float | None
    stages: Mapping[str, Mapping[str, int]]
    near_copies: int
    unchecked: int  # self and guided rows that nobody checked
    kept: int  # responses of an earlier round
    draws: int
    drawn_tokens: int
    scored_tokens: int
    draws_saved_by_early_stopping: int
    tokens_saved_by_early_stopping_estimate: int
    requests_recalled: int
    draws_begun_ahead: int  # in free slots, and not needed; in none of the numbers above
    tokens_begun_ahead: int
    slots_busy: float | None  # share, until no draw waited for a slot; where the engine knows
    seconds: float
    tokens_per_second: float | None


@dataclass
class RewriteTally:
    """What became of the rows."""

    tiers: Counter[str] = field(default_factory=Counter)
    hints: Counter[Hint] = field(default_factory=Counter)
    stages: dict[str, Counter[str]] = field(default_factory=dict)
    pass_rate_sum: float = 0.0
    pass_rate_rows: int = 0
    near_copies: int = 0
    unchecked: int = 0
    kept: int = 0
    saved_draws: int = 0

    def add(self, record: Record, samples: int) -> None:
        """Count one record of a run that draws at most ``samples`` a stage."""
        attempts = record.attempts
        self.tiers[record.tier] += 1
        kept = record.provenance.drawn_in is not None
        self.kept += kept
        if record.hint is not None:
            self.hints[record.hint] += 1
        for stage, counts in attempts.by_stage().items():
            if kept and stage == record.tier:
                continue  # drawn then, not now
            self.stages.setdefault(stage, Counter()).update(counts.model_dump(exclude_unset=True))
            if counts.correct and record.provenance.selection == "first":
                self.saved_draws += samples - counts.sampled
        if attempts.pass_rate is not None:
            self.pass_rate_sum += attempts.pass_rate
            self.pass_rate_rows += 1
        self.near_copies += bool(attempts.near_copy)
        self.unchecked += record.tier != "expert" and record.provenance.verifier_kind == "unchecked"


@dataclass(frozen=True)
class RewriteRequest:
    """Everything a user asks of a rewriting run."""

    rows: InputRows
    policy: Policy
    sampling: Sampling
    verifier: VerifierSettings
    options: RewriteOptions
    shard: Shard | None = None  # only these of the rows
    previous: PreviousRound | None = None

    def pool(self) -> VerifierPool:
        """What checks the draws."""
        return self.verifier.pool()

    def engine(self, quiet: bool) -> AbstractContextManager[Engine]:
        """The policy in its engine."""
        return running_engine(self.policy, self.sampling, seed=self.options.seed, quiet=quiet)

    def tokenizer(self) -> ChatTokenizer:
        """The engine's, without the engine."""
        return load_tokenizer(self.policy.spec)

    def job(self, engine: EngineIdentity) -> "RewriteJob":
        """The job, once the engine is known."""
        return RewriteJob(self, engine)

    def read(self) -> Iterator["GivenRow"]:
        """The rows to rewrite, in their order; an id that comes twice fails the second time."""
        seen = KeyIndex()
        earlier = None if self.previous is None else self.previous.records()
        try:
            for raw in self.rows.read():
                found = read_problem(raw, self.rows)
                key = row_key(raw, found)
                record = None if earlier is None else earlier.take(key)
                if self.shard is not None and not self.shard.holds(key):
                    continue
                if isinstance(found, Problem) and not seen.add(found.id, raw.line):
                    first = self.rows.source.label(seen.get(found.id) or 0)
                    reason = f"field id: {found.id!r} stands already at {first}"
                    found = FailedRow(raw.line, found.id, reason, raw.row)
                yield GivenRow(raw, found, record)
        finally:
            seen.close()

    def lines(self) -> Iterator[str]:
        """The rows to rewrite, each as a line of JSON."""
        return (given.as_line() for given in self.read())

    def elsewhere(self) -> "RewriteRequest":
        """The same for a machine that gets its rows one by one, and need not have the file."""
        return replace(self, rows=self.rows.elsewhere())

    def plan(self, engine: EngineIdentity) -> Plan:
        """The plan of every row, once the engine is open."""
        provenance = run_provenance(
            self.policy.spec,
            engine,
            sampling=self.sampling.as_dict(),
            selection=self.options.picker,
            verifier=self.verifier.name,
            verifier_kind=self.verifier.kind,
            seed=self.options.seed,
            round=self.options.round,
        )
        context = engine.max_context
        sequence_len = min(self.policy.sequence_len or context, context)
        return Plan(self.options, engine.tokenizer, self.sampling, context, sequence_len, provenance)


class RewriteJob:
    """Rewrites the rows of a source: a :class:`mindgap_data.run.job.Job` of records."""

    name = "rewrite"
    done = "rewritten"

    def __init__(self, request: RewriteRequest, engine: EngineIdentity) -> None:
        self._request = request
        self.rows, self.verifier, self.shard = request.rows, request.verifier, request.shard
        self.plan, self.previous = request.plan(engine), request.previous
        if self.previous is not None:
            self.previous.refuse_other_tokenizer(self.plan.tokenizer)
        self.tally = RewriteTally()

    @property
    def source(self) -> str:
        """The input, as the user named it."""
        return self.rows.source.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """What must not change between a run and its continuation."""
        return {
            **self.plan.provenance.model_dump(exclude_unset=True),
            **self.rows.settings(),
            "shard": None if self.shard is None else str(self.shard),
            "previous": None if self.previous is None else self.previous.fingerprint,
            "keep_within": None if self.previous is None else self.plan.options.keep_within,
            "stages": list(self.plan.options.stages),
            "samples": self.plan.options.samples,
            "guided_templates": {
                one.hint: sha256(one.template.encode()).hexdigest()[:16] for one in self.plan.options.guided
            },
            "guided_selection": selection_name(self.plan.options.picker_of("guided"), self.plan.options.sir_power),
            "require_working": self.plan.options.require_working,
            "max_context": self.plan.max_context,
            "sequence_len": self.plan.sequence_len,
            "score_expert": self.plan.options.score_expert,
            "verifier_options": dict(self.verifier.options),
        }

    def total(self) -> int | None:
        """Rows to come, where that is known."""
        return self.rows.total() if self.shard is None else None

    def tasks(self) -> Iterator[Task[Finished[Record] | FailedRow]]:
        """A task a row."""
        return (self._task(given.raw.line, given.found, given.earlier) for given in self._request.read())

    def task(self, line: str) -> Task[Finished[Record] | FailedRow]:
        """The task of a row that another machine has read."""
        given = GivenRow.of_line(line, self.rows)
        return self._task(given.raw.line, given.found, given.earlier)

    def _task(
        self, line: int, found: Problem | FailedRow, earlier: Record | None
    ) -> Task[Finished[Record] | FailedRow]:
        if isinstance(found, FailedRow):
            return Task(_failed(found))
        steps = per_row(partial(rewrite_problem, found, self.plan, earlier), line, found.id, found.row)
        return Task(steps, found.answer, found.checked_row)

    def keep(self, attempt: Attempt) -> Attempt:
        """Only a correct response can be chosen, so only its tokens are worth keeping."""
        return attempt if attempt.verdict == "correct" else attempt.without_body()

    def writer(self, path: Path) -> RecordWriter:
        """The output file."""
        return RecordWriter(path, self.plan.tokenizer)

    def encode(self, record: Record) -> Any:
        """A record as JSON, on its way from another machine."""
        return record.as_row()

    def decode(self, row: Any) -> Record:
        """The inverse of :meth:`encode`."""
        return Record.from_row(row)

    def add(self, record: Record) -> str:
        """Count one record; its label is its tier."""
        self.tally.add(record, self.plan.options.samples)
        return record.tier

    def figures(self, result: RunResult) -> RewriteSummary:
        """The numbers of the closing table."""
        meter, tally = result.meter, self.tally
        tokens_a_draw = meter.drawn_tokens / meter.draws if meter.draws else 0.0
        return RewriteSummary(
            rows=result.written + result.failed,
            rewritten=result.written,
            failed=result.failed,
            tiers={tier: tally.tiers[tier] for tier in TIERS},
            hints={one.hint: tally.hints[one.hint] for one in self.plan.options.guided},
            pass_rate=tally.pass_rate_sum / tally.pass_rate_rows if tally.pass_rate_rows else None,
            stages={stage: dict(counts) for stage, counts in tally.stages.items()},
            near_copies=tally.near_copies,
            unchecked=tally.unchecked,
            kept=tally.kept,
            draws=meter.draws,
            drawn_tokens=meter.drawn_tokens,
            scored_tokens=meter.scored_tokens,
            draws_saved_by_early_stopping=tally.saved_draws,
            tokens_saved_by_early_stopping_estimate=round(tally.saved_draws * tokens_a_draw),
            requests_recalled=meter.recalled,
            draws_begun_ahead=meter.ahead_draws,
            tokens_begun_ahead=meter.ahead_tokens,
            slots_busy=None if meter.occupancy is None else round(meter.occupancy, 4),
            seconds=round(result.seconds, 2),
            tokens_per_second=round(meter.fresh_tokens / result.seconds, 1) if result.seconds > 0 else None,
        )

    def summary(self, result: RunResult) -> str:
        """The figures and settings as one line of JSON."""
        replicas = {"replicas": list(result.replicas)} if result.replicas else {}
        return dumps({**asdict(self.figures(result)), **replicas, "settings": self.settings}) + "\n"


@dataclass(frozen=True)
class GivenRow:
    """A row of the input, its problem or why it has none, and its record of the round before."""

    raw: RawRow
    found: Problem | FailedRow
    earlier: Record | None

    def as_line(self) -> str:
        """The row as a line of JSON, for another machine."""
        failed = {"id": self.found.id, "reason": self.found.reason} if isinstance(self.found, FailedRow) else None
        earlier = None if self.earlier is None else self.earlier.as_row()
        return dumps({"raw": raw_line(self.raw), "failed": failed, "earlier": earlier})

    @classmethod
    def of_line(cls, line: str, rows: InputRows) -> "GivenRow":
        """The inverse of :meth:`as_line`."""
        given = loads(line)
        raw, failed, earlier = raw_of_line(given["raw"]), given["failed"], given["earlier"]
        found = read_problem(raw, rows) if failed is None else FailedRow(raw.line, **failed, row=_shown(raw))
        return cls(raw, found, None if earlier is None else Record.from_row(earlier))


def read_problem(raw: RawRow, rows: InputRows) -> Problem | FailedRow:
    """The problem of a row, or why it has none."""
    try:
        return rows.problem(raw)
    except RowError as error:
        return FailedRow(raw.line, None, str(error), _shown(raw))


def row_key(raw: RawRow, found: Problem | FailedRow) -> str:
    """What decides which shard a row belongs to: its id, or its place where it has none."""
    return found.id if isinstance(found, Problem) else f"line {raw.line}"


def _shown(raw: RawRow) -> Any:
    """The row as the failed file has it."""
    return raw.text if raw.row is None else raw.row


def _failed(row: FailedRow) -> Steps[FailedRow]:
    """The procedure of a row that never gets to the engine."""
    yield from ()
    return row
