"""Evaluation of a policy on benchmarks: draw, check, keep every generation, sum up; resumable."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mindgap_data.engines import Draw, Engine, Failure
from mindgap_data.errors import UserError
from mindgap_data.evaluation.metrics import Drawn, ProblemResult, answer_vote, average_figures, benchmark_figures
from mindgap_data.rows.files import AtomicWriter, dumps
from mindgap_data.rows.formats import ANSWER_COLUMNS, Fields, Problem, Row, RowError, to_problem
from mindgap_data.rows.sources import Source
from mindgap_data.run.journal import Journal
from mindgap_data.run.progress import RunProgress
from mindgap_data.run.scheduler import (
    Attempt,
    Outcome,
    Scheduler,
    Steps,
    Task,
    decode_outcome,
    draw,
    encode_outcome,
)
from mindgap_data.verify.pool import VerifierPool

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
# Columns a benchmark without demonstrations has its problem in.
PROBLEM_COLUMNS = ("problem", "question", "prompt", "instruction")


@dataclass(frozen=True)
class Benchmark:
    """Problems with reference answers."""

    name: str
    fingerprint: str  # of the source
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class EvaluationPaths:
    """The files of an evaluation, all in one folder."""

    folder: Path

    @property
    def generations(self) -> Path:
        """A line a problem, with all its draws."""
        return self.folder / "generations.jsonl"

    @property
    def summary(self) -> Path:
        """Settings and figures; there when the run is finished."""
        return self.folder / "summary.json"

    @property
    def journal(self) -> Path:
        """What finished requests gave, while the run is unfinished."""
        return self.folder / "journal"


@dataclass(frozen=True)
class Evaluated:
    """A problem with all its draws."""

    result: ProblemResult
    row: dict[str, Any]  # of generations.jsonl


@dataclass(frozen=True)
class EvaluationRun:
    """Everything a run needs."""

    benchmarks: tuple[Benchmark, ...]
    samples: int
    seed: int
    engine: Engine
    verifier: VerifierPool
    paths: EvaluationPaths
    settings: Mapping[str, Any]  # what must not change between a run and its continuation
    quiet: bool = False

    def execute(self) -> dict[str, Any]:
        """Draw and check everything and put the files in place; returns the summary.

        Raises:
            UserError: engine, journal or disk failed; what was drawn is kept for a rerun.
        """
        began = time.monotonic()
        journal = Journal[Outcome](self.paths.journal, self.settings, encode_outcome, decode_outcome)
        scheduler = Scheduler[Evaluated](self.engine, self.verifier, journal, keep=_text_alone)
        total = sum(len(benchmark.problems) for benchmark in self.benchmarks)
        groups: dict[str, list[ProblemResult]] = {benchmark.name: [] for benchmark in self.benchmarks}
        try:
            with AtomicWriter(self.paths.generations) as file, RunProgress("evaluate", total, self.quiet) as progress:
                for one in scheduler.run(self._tasks()):
                    file.write(one.row)
                    groups[one.result.benchmark].append(one.result)
                    progress.row("solved" if one.result.accuracy else "unsolved", scheduler.meter)
                file.finish()
            summary = {
                **summarise(list(groups.values())),
                "seconds": round(time.monotonic() - began, 2),
                "drawn_tokens": scheduler.meter.drawn_tokens,
                "recalled_draws": scheduler.meter.recalled,
                "settings": dict(self.settings),
            }
            with AtomicWriter(self.paths.summary) as file:
                file.write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
                file.finish()
        except BaseException:
            journal.close()
            raise
        journal.remove()
        return summary

    def _tasks(self) -> Iterator[Task[Evaluated]]:
        for benchmark in self.benchmarks:
            for problem in benchmark.problems:
                row = {**problem.row, "verifier": problem.verifier} if problem.verifier else problem.row
                yield Task(self._evaluate(benchmark.name, problem), problem.answer, row)

    def _evaluate(self, benchmark: str, problem: Problem) -> Steps[Evaluated]:
        prompt = self.engine.tokenizer.prompt_ids(problem.messages)
        room = min(self.engine.sampling.max_tokens, self.engine.max_context - len(prompt))
        outcomes: Sequence[Outcome]
        if room < 1:
            reason = f"the prompt is {len(prompt)} tokens long, the context holds {self.engine.max_context}"
            outcomes = [Failure(reason)] * self.samples
        else:
            key = f"{benchmark}/{problem.id}"
            draws: list[Draw] = [draw(f"{key}/{n}", prompt, self.seed, room) for n in range(self.samples)]
            outcomes = yield draws
        shown = [_shown(outcome) for outcome in outcomes]
        result = ProblemResult(
            benchmark, problem.id, tuple(Drawn(one["outcome"], one["tokens"], one["vote"]) for one in shown)
        )
        row = {
            "benchmark": benchmark,
            "id": problem.id,
            "messages": list(problem.messages),
            "answer": problem.answer,
            "accuracy": result.accuracy,
            "draws": shown,
        }
        return Evaluated(result, row)


def summarise(groups: Sequence[Sequence[ProblemResult]]) -> dict[str, Any]:
    """Figures by benchmark, and their average where there are several."""
    return {
        "benchmarks": [benchmark_figures(results[0].benchmark, results).as_dict() for results in groups],
        "average": average_figures(groups).as_dict() if len(groups) > 1 else None,
    }


def read_benchmarks(
    sources: Sequence[Source], fields: Fields, instruction: str | None, limit: int | None
) -> tuple[Benchmark, ...]:
    """The benchmarks of several sources, named after their files.

    Raises:
        UserError: a row cannot be used: an evaluation on part of a benchmark would not be one.
    """
    benchmarks: list[Benchmark] = []
    for source in sources:
        name = benchmark_name(source.name)
        if any(name == other.name for other in benchmarks):
            raise UserError(f"{source.name}: there is another benchmark named {name}; rename one of the files")
        problems = tuple(_problems(source, fields, instruction, limit))
        benchmarks.append(Benchmark(name, source.fingerprint, problems))
    return tuple(benchmarks)


def benchmark_name(source: str) -> str:
    """Name of a benchmark: the file's without folder and ending."""
    name = Path(source).name
    for suffix in (".gz", ".jsonl", ".ndjson", ".json", ".parquet"):
        name = name.removesuffix(suffix)
    return name


def to_benchmark_problem(row: Row, fields: Fields, instruction: str | None) -> Problem:
    """The problem of a benchmark's row: any input format, or just a problem and its answer.

    Raises:
        RowError: the row cannot be used.
    """
    try:
        return to_problem(row, fields, instruction)
    except RowError:
        prompt = fields.prompt or next((name for name in PROBLEM_COLUMNS if isinstance(row.get(name), str)), None)
        answer = fields.answer or next((name for name in ANSWER_COLUMNS if row.get(name) not in (None, "")), None)
        if prompt is None or answer is None or fields.response or fields.messages or row.get("solution"):
            raise
        bare = {**row, "prompt": row.get(prompt), "completion": str(row.get(answer))}
        named = replace(fields, format="prompt-completion", prompt="prompt", response="completion", answer=answer)
        return to_problem(bare, named, instruction)


def adapter_fingerprint(adapter: str | None) -> str | None:
    """Hash of a local adapter's weights: a retrained adapter in the same folder is another one."""
    if adapter is None or not Path(adapter).is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(Path(adapter).glob("adapter_*")):
        digest.update(path.name.encode() + path.read_bytes())
    return f"sha256:{digest.hexdigest()[:16]}"


def finished_summary(paths: EvaluationPaths, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run with these settings, or None where there is no finished run.

    Raises:
        UserError: the folder holds a run with other settings; each is named.
    """
    if not paths.summary.exists():
        return None
    summary = read_summary(paths.folder)
    old, new = summary["settings"], json.loads(dumps(dict(settings)))
    changed = [
        f"{name} was {dumps(old.get(name))}, now {dumps(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise UserError(
            f"{paths.folder}: holds a finished evaluation with other settings ({'; '.join(changed)}); "
            "choose another -o, or replace it with --overwrite"
        )
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary.json of a finished evaluation.

    Raises:
        UserError: there is none, or it is something else.
    """
    path = EvaluationPaths(folder).summary
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: no summary.json; this is no finished `mindgap-data evaluate -o` folder") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(summary, dict) or not {"benchmarks", "settings"} <= set(summary):
        raise UserError(f"{path}: is no summary of an evaluation")
    return summary


def _problems(source: Source, fields: Fields, instruction: str | None, limit: int | None) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for raw in islice(source.rows(), limit):
        try:
            if raw.row is None:
                raise RowError(raw.error or "unreadable")
            problem = to_benchmark_problem(raw.row, fields, instruction)
        except RowError as error:
            raise UserError(f"{source.label(raw.line)}: {error}") from error
        # A benchmark may state a problem twice: both count, under names of their own.
        seen[problem.id] = seen.get(problem.id, 0) + 1
        yield problem if seen[problem.id] == 1 else replace(problem, id=f"{problem.id}#{seen[problem.id]}")


def _shown(outcome: Outcome) -> dict[str, Any]:
    """A draw as generations.jsonl has it."""
    if isinstance(outcome, Failure):
        return {"outcome": "failed", "tokens": 0, "vote": None, "text": "", "reason": outcome.reason}
    assert isinstance(outcome, Attempt)
    vote = None if outcome.verdict in ("truncated", "no_answer") else answer_vote(outcome.text)
    return {"outcome": outcome.verdict, "tokens": outcome.tokens, "vote": vote, "text": outcome.text}


def _text_alone(attempt: Attempt) -> Attempt:
    """Ids and log-probs are not looked at."""
    return replace(attempt, token_ids=(), logprobs=())
