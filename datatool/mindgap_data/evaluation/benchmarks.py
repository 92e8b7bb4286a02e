"""Benchmarks: files of problems with reference answers, read whole or refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice
from pathlib import Path

from mindgap_data.errors import UserError
from mindgap_data.rows.problem import ANSWER_COLUMNS, Problem, to_problem
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import Source
from mindgap_data.rows.values import Row, RowError

BOXED_INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."
# Columns a benchmark without demonstrations has its problem in.
PROBLEM_COLUMNS = ("problem", "question", "prompt", "instruction")


@dataclass(frozen=True)
class Benchmark:
    """Problems with reference answers."""

    name: str
    fingerprint: str  # of the source
    problems: tuple[Problem, ...]


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


def _problems(source: Source, fields: Fields, instruction: str | None, limit: int | None) -> Iterator[Problem]:
    seen: set[str] = set()
    for raw in islice(source.rows(), limit):
        try:
            if raw.row is None:
                raise RowError(raw.error or "unreadable")
            problem = to_benchmark_problem(raw.row, fields, instruction)
        except RowError as error:
            raise UserError(f"{source.label(raw.line)}: {error}") from error
        # A benchmark may state a problem twice: both count, under names of their own.
        names = chain([problem.id], (f"{problem.id}#{n}" for n in count(2)))
        name = next(name for name in names if name not in seen)
        seen.add(name)
        yield replace(problem, id=name)
