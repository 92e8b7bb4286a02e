"""Policy log-probs for rows that have a response: a rewritten file refreshed, or a plain SFT file made a record."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mindgap_data import __version__
from mindgap_data.engines import Engine, Failure, Score, Scores
from mindgap_data.errors import UserError
from mindgap_data.record import SCHEMA_VERSION, alignment_error, record_error
from mindgap_data.rewrite.job import OutputPaths
from mindgap_data.rewrite.stages import rounded
from mindgap_data.rows.files import AtomicWriter
from mindgap_data.rows.formats import Fields, RowError, to_demonstration
from mindgap_data.rows.sources import Source
from mindgap_data.run.journal import Journal
from mindgap_data.run.progress import RunProgress
from mindgap_data.run.scheduler import Outcome, Scheduler, Steps, Task, decode_outcome, encode_outcome


@dataclass(frozen=True)
class Scored:
    """A row with its policy log-probs."""

    row: dict[str, Any]


@dataclass(frozen=True)
class NotScored:
    """A row of the failed file."""

    row: dict[str, Any]


@dataclass(frozen=True)
class ScoreRun:
    """Everything a scoring run needs."""

    source: Source
    fields: Fields
    limit: int | None
    score_expert: bool  # also the expert's text of rows that carry another response
    engine: Engine
    policy: dict[str, Any]  # model, revision, adapter, engine, dtype: whose log-probs these are
    paths: OutputPaths
    settings: dict[str, Any]
    quiet: bool = False

    def execute(self) -> dict[str, Any]:
        """Score everything and put the files in place; returns the summary.

        Raises:
            UserError: input, engine, journal or disk failed, or no row could be scored.
        """
        began = time.monotonic()
        journal = Journal[Outcome](self.paths.journal, self.settings, encode_outcome, decode_outcome)
        scheduler = Scheduler[Scored | NotScored](self.engine, None, journal)
        scored = failures = 0
        first_failure = ""
        try:
            with (
                AtomicWriter(self.paths.output) as output,
                AtomicWriter(self.paths.failed) as failed,
                RunProgress("score", self.source.count(), self.quiet) as progress,
            ):
                for result in scheduler.run(self._tasks()):
                    if isinstance(result, Scored):
                        output.write(result.row)
                        scored += 1
                    else:
                        failed.write(result.row)
                        failures += 1
                        first_failure = first_failure or f"line {result.row['line']}: {result.row['reason']}"
                    progress.row("scored" if isinstance(result, Scored) else "failed", scheduler.meter)
                if failures:
                    failed.finish()
                if not scored:
                    raise UserError(f"{self.source.name}: no row could be scored ({first_failure})")
                output.finish()
        except BaseException:
            journal.close()
            raise
        journal.remove()
        seconds = time.monotonic() - began
        return {"scored": scored, "failed": failures, "tokens": scheduler.meter.scored_tokens, "seconds": seconds}

    def _tasks(self) -> Iterator[Task[Scored | NotScored]]:
        for raw in islice(self.source.rows(), self.limit):
            yield Task(self._row(raw.line, raw.row, raw.error))

    def _row(self, line: int, row: dict[str, Any] | None, error: str | None) -> Steps[Scored | NotScored]:
        try:
            if row is None:
                raise RowError(error or "unreadable")
            if "response_token_ids" in row and "tier" in row:
                return (yield from self._record(line, row))
            return (yield from self._plain(line, row))
        except (RowError, UserError) as reason:
            return NotScored({"line": line, "id": (row or {}).get("id"), "reason": str(reason), "row": row})

    def _record(self, line: int, row: dict[str, Any]) -> Steps[Scored]:
        if (fault := record_error(row)) is not None:
            raise RowError(fault)
        tokenizer = self.engine.tokenizer
        for name, own in (("tokenizer", tokenizer.fingerprint), ("chat_template", tokenizer.template)):
            if row["provenance"][name] != own:
                raise RowError(
                    f"provenance.{name} is {row['provenance'][name]}, this model's is {own}: other ids or prompts"
                )
        prompt = tokenizer.prompt_ids(row["messages"][:-1])
        wanted = {"policy_logprobs": tuple(row["response_token_ids"])}
        refreshed: dict[str, Any] = {}
        if self.score_expert or "expert_logprobs" in row:
            refreshed["expert_token_ids"] = list(row.get("expert_token_ids") or tokenizer.response_ids(row["expert"]))
            wanted["expert_logprobs"] = tuple(refreshed["expert_token_ids"])
        outcomes = yield [Score(f"{line}/{name}", prompt, ids) for name, ids in wanted.items()]
        for name, outcome in zip(wanted, outcomes, strict=True):
            refreshed[name] = rounded(_logprobs(outcome))
        return Scored({**row, **refreshed, "provenance": {**row["provenance"], "policy": self.policy}})

    def _plain(self, line: int, row: dict[str, Any]) -> Steps[Scored]:
        problem = to_demonstration(row, self.fields)
        tokenizer = self.engine.tokenizer
        prompt, ids = tokenizer.prompt_ids(problem.messages), tokenizer.response_ids(problem.expert)
        if problem.expert_token_ids is not None:
            ids = tuple(problem.expert_token_ids)
        (outcome,) = yield [Score(f"{line}/policy_logprobs", prompt, ids)]
        logprobs = rounded(_logprobs(outcome))
        if (fault := alignment_error(ids, problem.expert_logprobs, logprobs, "expert")) is not None:
            raise RowError(fault)
        return Scored(
            {
                "id": problem.id,
                "messages": [*problem.messages, {"role": "assistant", "content": tokenizer.response_text(ids)}],
                "tier": "expert",
                "response_token_ids": list(ids),
                "behavior_logprobs": problem.expert_logprobs,
                "policy_logprobs": logprobs,
                "answer": problem.answer,
                "expert": problem.expert,
                "attempts": {"pass_rate": None, "expert_overlap": None, "near_copy": None},
                "provenance": {
                    "schema_version": SCHEMA_VERSION,
                    "tool_version": __version__,
                    **self.policy,
                    "tokenizer": tokenizer.fingerprint,
                    "chat_template": tokenizer.template,
                    "sampling": {},
                    "behavior": "logged" if problem.expert_logprobs else None,
                    "behavior_prompt": None,
                    "selection": "none",
                    "verifier": "none",
                    "seed": 0,
                },
                **problem.extra,
            }
        )


def _logprobs(outcome: Outcome) -> tuple[float, ...]:
    if isinstance(outcome, Failure):
        raise RowError(f"the engine could not score: {outcome.reason}")
    assert isinstance(outcome, Scores)
    return outcome.logprobs
