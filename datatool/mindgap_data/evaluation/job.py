"""The evaluation job: draws for every problem of some benchmarks, all of them kept, and their figures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mindgap_data.engines import Draw, EngineIdentity, Failure
from mindgap_data.evaluation.accuracy import Drawn, ProblemResult, answer_vote, average_figures, benchmark_figures
from mindgap_data.evaluation.benchmarks import Benchmark
from mindgap_data.rows.jsonl import loads
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.writing import JsonlWriter
from mindgap_data.run.job import FailedRow, Finished, RunResult
from mindgap_data.run.outcomes import Attempt, Outcome
from mindgap_data.run.scheduler import Steps, Task, draw


@dataclass(frozen=True)
class Evaluated:
    """A problem with all its draws."""

    result: ProblemResult
    row: dict[str, Any]  # of generations.jsonl


class GenerationsWriter(JsonlWriter):
    """Writes a line a problem."""

    def write(self, one: Evaluated) -> None:
        """Append one problem with all its draws."""
        super().write(one.row)


@dataclass(frozen=True)
class EvaluationJob:
    """Evaluates a policy on benchmarks: a :class:`mindgap_data.run.job.Job` of problems with their draws."""

    benchmarks: tuple[Benchmark, ...]
    samples: int
    seed: int
    engine: EngineIdentity
    settings: Mapping[str, Any]  # what must not change between a run and its continuation
    results: dict[str, list[ProblemResult]] = field(default_factory=dict)  # by benchmark
    name: str = "evaluate"
    done: str = "evaluated"

    @property
    def source(self) -> str:
        """The benchmarks' names."""
        return ", ".join(benchmark.name for benchmark in self.benchmarks)

    def total(self) -> int:
        """Problems of all benchmarks."""
        return sum(len(benchmark.problems) for benchmark in self.benchmarks)

    def tasks(self) -> Iterator[Task[Finished[Evaluated] | FailedRow]]:
        """A task a problem."""
        for benchmark in self.benchmarks:
            for place in range(len(benchmark.problems)):
                yield self._task(benchmark, place)

    def task(self, line: str) -> Task[Finished[Evaluated] | FailedRow]:
        """The task of a problem, named by the numbers of its benchmark and of itself."""
        number, place = loads(line)
        return self._task(self.benchmarks[number], place)

    def encode(self, one: Evaluated) -> Any:
        """A problem with its draws as JSON, on its way from another machine."""
        return one.row

    def decode(self, row: Any) -> Evaluated:
        """The inverse of :meth:`encode`."""
        return Evaluated(_result(row["benchmark"], row["id"], row["draws"]), row)

    def keep(self, attempt: Attempt) -> Attempt:
        """Ids and log-probs are not looked at."""
        return replace(attempt, token_ids=(), logprobs=())

    def writer(self, path: Path) -> GenerationsWriter:
        """The output file."""
        return GenerationsWriter(path)

    def add(self, one: Evaluated) -> str:
        """Count one problem."""
        self.results.setdefault(one.result.benchmark, []).append(one.result)
        return "solved" if one.result.accuracy else "unsolved"

    def summary(self, result: RunResult) -> str:
        """Figures and settings, indented."""
        summary = {
            **summarise(list(self.results.values())),
            "seconds": round(result.seconds, 2),
            "drawn_tokens": result.meter.drawn_tokens,
            "recalled_draws": result.meter.recalled,
            **({"replicas": list(result.replicas)} if result.replicas else {}),
            "settings": dict(self.settings),
        }
        return json.dumps(summary, indent=2, ensure_ascii=False) + "\n"

    def shown(self, outcome: Outcome) -> dict[str, Any]:
        """A draw as generations.jsonl has it."""
        if isinstance(outcome, Failure):
            return {"outcome": "failed", "tokens": 0, "vote": None, "text": "", "reason": outcome.reason}
        assert isinstance(outcome, Attempt)
        vote = None if outcome.verdict in ("truncated", "no_answer") else answer_vote(outcome.text)
        return {"outcome": outcome.verdict, "tokens": outcome.tokens, "vote": vote, "text": outcome.text}

    def _task(self, benchmark: Benchmark, place: int) -> Task[Finished[Evaluated] | FailedRow]:
        problem = benchmark.problems[place]
        return Task(self._evaluate(benchmark.name, place + 1, problem), problem.answer, problem.checked_row)

    def _evaluate(self, benchmark: str, line: int, problem: Problem) -> Steps[Finished[Evaluated]]:
        prompt = self.engine.tokenizer.prompt_ids(problem.messages, problem.tools)
        room = min(self.engine.sampling.max_tokens, self.engine.max_context - len(prompt))
        outcomes: Sequence[Outcome]
        if room < 1:
            reason = f"the prompt is {len(prompt)} tokens long, the context holds {self.engine.max_context}"
            outcomes = [Failure(reason)] * self.samples
        else:
            key = f"{benchmark}/{problem.id}"
            draws: list[Draw] = [draw(f"{key}/{n}", prompt, self.seed, room) for n in range(self.samples)]
            outcomes = yield draws
        shown = [self.shown(outcome) for outcome in outcomes]
        result = _result(benchmark, problem.id, shown)
        row = {
            "benchmark": benchmark,
            "id": problem.id,
            "messages": list(problem.messages),
            **({} if problem.tools is None else {"tools": problem.tools}),
            "answer": problem.answer,
            "accuracy": result.accuracy,
            "draws": shown,
        }
        return Finished(Evaluated(result, row), line, problem.row)


def _result(benchmark: str, id: str, draws: Sequence[Mapping[str, Any]]) -> ProblemResult:
    """The result of a problem whose draws generations.jsonl has."""
    drawn = tuple(Drawn(one["outcome"], one["tokens"], one["vote"]) for one in draws)
    return ProblemResult(benchmark, id, drawn)


def summarise(groups: Sequence[Sequence[ProblemResult]]) -> dict[str, Any]:
    """Figures by benchmark, and their average where there are several."""
    return {
        "benchmarks": [benchmark_figures(results[0].benchmark, results).as_dict() for results in groups],
        "average": average_figures(groups).as_dict() if len(groups) > 1 else None,
    }
