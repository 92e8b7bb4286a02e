"""Shards of a rewriting run put together again: every row of the input once, in its order."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.record import HINTS, TIERS, Record
from mindgap_data.rewrite.job import read_problem, row_key
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.jsonl import RawRow, dumps, loads
from mindgap_data.rows.reading import read_raw_rows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import Source
from mindgap_data.rows.writing import AtomicWriter, JsonlWriter, RecordWriter
from mindgap_data.run.job import RunFiles
from mindgap_data.run.journal import differing
from mindgap_data.run.shards import shard_of

# What a sum over shards means something for; shares and rates are worked out again.
_SUMMED = (
    "rows", "rewritten", "failed", "near_copies", "unchecked", "kept", "draws", "drawn_tokens", "scored_tokens",
    "draws_saved_by_early_stopping", "tokens_saved_by_early_stopping_estimate", "requests_recalled", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class FinishedShard:
    """One shard's files and what its summary says."""

    files: RunFiles
    index: int
    count: int
    settings: Mapping[str, Any]  # of the run, without the shard
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Merged:
    """What a merge wrote."""

    rewritten: int
    failed: int


def read_shards(paths: Sequence[Path]) -> list[FinishedShard]:
    """The shards of one run, in their order.

    Raises:
        UserError: one is unfinished, of other settings, there twice, or missing.
    """
    shards = [_read_shard(path) for path in paths]
    first = shards[0]
    for shard in shards[1:]:
        if changed := _changes(first, shard):
            raise UserError(f"{shard.files.output}: other settings than {first.files.output}: {changed}")
    by_index: dict[int, FinishedShard] = {}
    for shard in shards:
        if (other := by_index.setdefault(shard.index, shard)) is not shard:
            both = f"{other.files.output} and {shard.files.output}"
            raise UserError(f"{both}: both are shard {shard.index}/{shard.count}; leave one out")
    if missing := [f"{n}/{first.count}" for n in range(1, first.count + 1) if n not in by_index]:
        raise UserError(f"shard {', '.join(missing)} is missing; run `mindgap-data rewrite --shard` for it, or name it")
    return [by_index[n] for n in range(1, first.count + 1)]


def merge(source: Source, shards: Sequence[FinishedShard], files: RunFiles) -> Merged:
    """Write the shards' rows, in the input's order, as one run would have written them.

    Raises:
        UserError: the input is another than the shards', or a shard lacks one of its rows.
    """
    settings = shards[0].settings
    if source.fingerprint != settings["input"]:
        raise UserError(f"{source.name}: not the input of these shards: its content has changed, or it is another file")
    rows = InputRows(
        source, Fields(**settings["fields"]), settings["instruction"], settings["limit"], settings.get("turns", "last")
    )
    with ExitStack() as stack:
        output = stack.enter_context(RecordWriter(files.output))
        failed = stack.enter_context(JsonlWriter(files.failed))
        summary = stack.enter_context(AtomicWriter(files.summary))
        readers = [_ShardReader(shard) for shard in shards]
        result = _write_rows(rows, readers, output, failed)
        for reader in readers:
            reader.refuse_more()
        summary.write_text(dumps({**_figures(shards), "settings": {**settings, "shard": None}}) + "\n")
        if result.failed:
            failed.finish()
        else:
            files.failed.unlink(missing_ok=True)
        output.finish()
        summary.finish()
    return result


def _write_rows(
    rows: InputRows, readers: Sequence["_ShardReader"], output: RecordWriter, failed: JsonlWriter
) -> Merged:
    written = lost = 0
    for raw in rows.read():
        key = row_key(raw, read_problem(raw, rows))
        found = readers[shard_of(key, len(readers)) - 1].take(raw, key)
        if isinstance(found, Record):
            output.write(found)
            written += 1
        else:
            failed.write(found)
            lost += 1
    return Merged(written, lost)


class _ShardReader:
    """Takes a shard's rows one after the other: both of its files are in the input's order."""

    def __init__(self, shard: FinishedShard) -> None:
        self._files = shard.files
        self._records = _rows_of(shard.files.output)
        self._failed = _rows_of(shard.files.failed)
        self._record, self._failure = next(self._records, None), next(self._failed, None)

    def take(self, raw: RawRow, key: str) -> Record | dict[str, Any]:
        """What became of a row of the input."""
        if self._failure is not None and self._failure["line"] == raw.line and self._failure["id"] in (None, key):
            failure, self._failure = self._failure, next(self._failed, None)
            return failure
        if self._record is not None and self._record["id"] == key:
            row, self._record = self._record, next(self._records, None)
            try:
                return Record.from_row(row)
            except ValueError as fault:
                raise UserError(f"{self._files.output}: row {key!r}: {fault}") from None
        raise UserError(f"{self._files.output}: row {key!r} of line {raw.line} is missing; run this shard again")

    def refuse_more(self) -> None:
        """Raise UserError when rows are left that the input does not have."""
        if self._record is not None or self._failure is not None:
            raise UserError(f"{self._files.output}: holds rows that are not in the input; run this shard again")


def _rows_of(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for raw in read_raw_rows(path):
            if raw.row is None:
                raise UserError(f"{path}:{raw.line}: {raw.error}")
            yield raw.row


def _read_shard(path: Path) -> FinishedShard:
    files = RunFiles.beside(path)
    if files.journal.exists():
        raise UserError(f"{path}: this shard is unfinished; run its command again to continue it")
    try:
        figures = loads(files.summary.read_bytes())
        settings = dict(figures["settings"])
        index, count = map(int, settings.pop("shard").split("/"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{files.summary}: not the summary of a run with --shard") from error
    return FinishedShard(files, index, count, settings, figures)


def _changes(first: FinishedShard, other: FinishedShard) -> str:
    old, new = {**first.settings, "shards": first.count}, {**other.settings, "shards": other.count}
    return "; ".join(f"{name} is {dumps(new.get(name))}, there {dumps(old.get(name))}" for name in differing(old, new))


def _figures(shards: Sequence[FinishedShard]) -> dict[str, Any]:
    """The shards' closing tables as one; the mean pass rate is weighted by rows."""
    figures: dict[str, Any] = {name: sum(shard.figures[name] for shard in shards) for name in _SUMMED}
    stages: dict[str, Counter[str]] = {}
    for shard in shards:
        for stage, counts in shard.figures["stages"].items():
            stages.setdefault(stage, Counter()).update(counts)
    rated = [shard.figures for shard in shards if shard.figures["pass_rate"] is not None]
    rows = sum(one["rewritten"] for one in rated)
    hints = [hint for hint in HINTS if any(hint in shard.figures["hints"] for shard in shards)]
    figures["hints"] = {hint: sum(shard.figures["hints"][hint] for shard in shards) for hint in hints}
    figures["tiers"] = {tier: sum(shard.figures["tiers"][tier] for shard in shards) for tier in TIERS}
    figures["stages"] = {stage: dict(counts) for stage, counts in stages.items()}
    figures["pass_rate"] = sum(one["pass_rate"] * one["rewritten"] for one in rated) / rows if rows else None
    return figures
