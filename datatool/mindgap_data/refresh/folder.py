"""The folder that a training run shares with its worker: adapters go in, rows that they drew come back.

Both sides read and write it through this module. Whatever has appeared under its final name is whole and never
changes again:

    run.json                       the run: its model, its tokenizer, the ids of its rows
    adapters/adapter-000010/       the adapter as it was after 10 steps
    adapters/adapter-000010.skipped    why the worker could not use it
    rows/rows-000010-0001.jsonl    the first batch of records that this adapter drew
    rows/rows-000010-0001.failed.jsonl    rows of that batch that came to nothing: they keep what they have
    finished                       the run is over
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mindgap_data.errors import UserError, one_line
from mindgap_data.refresh.pacing import note_tried
from mindgap_data.rows.jsonl import loads
from mindgap_data.rows.writing import AtomicWriter

_ADAPTER = re.compile(r"adapter-(\d{6,})")
_ROWS = re.compile(r"rows-(\d{6,})-(\d{4,})(\.failed)?\.jsonl")
# What two runs that may share a folder have in common, as it is named in errors.
_IDENTITY = ("base_model", "adapter", "tokenizer", "chat_template", "sequence_len", "data")


class TrainingRun(BaseModel):
    """What the worker must know of the run, and what tells it from any other."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1  # of this protocol
    base_model: str = Field(description="as the recipe names it")
    adapter: str | None = Field(None, description="lora_model_dir of the recipe: the adapter it starts from")
    tokenizer: str = Field(description="fingerprint of the vocabulary")
    chat_template: str = Field(description="fingerprint of the chat template and its arguments")
    sequence_len: int = Field(description="longest row it trains on, tokens")
    data: str = Field(description="fingerprint of the data files")
    rows: tuple[str, ...] = Field(description="ids of the rows it trains on, each once")


@dataclass(frozen=True, order=True)
class Batch:
    """One batch of rows: the step of the adapter that drew it, and its number among those."""

    step: int
    number: int  # from 1

    @property
    def name(self) -> str:
        """What its files begin with."""
        return f"rows-{self.step:06d}-{self.number:04d}"


class RefreshFolder:
    """One such folder, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # --- the training run ---

    def claim(self, run: TrainingRun, resumes: bool) -> None:
        """Make the folder this run's.

        Args:
            run: who trains.
            resumes: whether it goes on from a checkpoint, so that adapters may be there already.

        Raises:
            UserError: it is another run's, or holds what an earlier attempt left; it cannot be written.
        """
        try:
            for folder in (self.path / "adapters", self.path / "rows"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self.path}: the folder cannot be written: {error.strerror}") from error
        there = self.run()
        if there is not None and (changed := _differences(there, run)):
            raise UserError(f"{self.path}: belongs to another training run ({changed}); choose another folder")
        if self.versions() and not resumes:
            raise UserError(
                f"{self.path}: holds adapters of an earlier run of this recipe; delete the folder or choose another, "
                "or continue that run with resume_from_checkpoint"
            )
        (self.path / "finished").unlink(missing_ok=True)
        for part in self.path.glob("adapters/*.part"):
            shutil.rmtree(part)
        _write(self.path / "run.json", run.model_dump_json())

    def publish(self, step: int, save: Callable[[Path], None]) -> bool:
        """Put the adapter of a step in place, whole; False where it is there already, of the run before a resume.

        Args:
            step: optimizer steps it has been trained for.
            save: writes it into the folder it is given.
        """
        place = self.adapter(step)
        if place.exists():
            return False
        part = place.with_name(f"{place.name}.part")
        save(part)
        for file in part.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        part.rename(place)
        return True

    def finish(self) -> None:
        """Tell the worker that nothing more will come."""
        _write(self.path / "finished", "")

    # --- the worker ---

    def run(self) -> TrainingRun | None:
        """The run, once it has begun.

        Raises:
            UserError: this is not such a folder, or of another version.
        """
        path = self.path / "run.json"
        try:
            return TrainingRun.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise UserError(
                f"{path}: not what a training run of this version of mindgap writes ({one_line(error, 80)}); "
                "choose another folder, or use one version on both sides"
            ) from error

    @property
    def finished(self) -> bool:
        """Whether the run is over."""
        return (self.path / "finished").exists()

    def skip(self, step: int, reason: str) -> None:
        """Leave an adapter out from now on, and say why."""
        _write(self.adapter(step).with_suffix(".skipped"), reason + "\n")

    def files(self, batch: Batch) -> Path:
        """Where a batch's records go; its other files stand beside it."""
        return self.path / "rows" / f"{batch.name}.jsonl"

    def unfinished(self) -> Batch | None:
        """The batch that a stopped worker left half-way."""
        journals = sorted(self.path.glob("rows/*.jsonl.journal"))
        found = [_batch(path.name.removesuffix(".journal")) for path in journals]
        return next((batch for batch in found if batch is not None), None)

    # --- both ---

    def adapter(self, step: int) -> Path:
        """Where the adapter of a step is."""
        return self.path / "adapters" / f"adapter-{step:06d}"

    def versions(self) -> list[int]:
        """Steps of the adapters that are there, without those left out, in order."""
        names = {path.name for path in self.path.glob("adapters/adapter-*")}
        steps = [match[1] for name in names if (match := _ADAPTER.fullmatch(name)) and f"{name}.skipped" not in names]
        return sorted(map(int, steps))

    def batches(self) -> list[Batch]:
        """The batches that are whole, in the order in which they were drawn."""
        names = {path.name for path in self.path.glob("rows/rows-*")}
        found = {batch for name in names if (batch := _batch(name)) is not None}
        # A batch of which no row succeeded has no records; while the others are written, their journal is there.
        whole = [one for one in found if f"{one.name}.jsonl" in names or f"{one.name}.jsonl.journal" not in names]
        return sorted(whole)

    def records(self, batch: Batch) -> Iterator[tuple[int, dict[str, Any]]]:
        """(line, row) of a batch's records, unchecked.

        Raises:
            UserError: a line is no JSON object.
        """
        yield from _lines(self.files(batch))

    def failed(self, batch: Batch) -> list[str]:
        """Ids of the rows of a batch that came to nothing."""
        path = self.files(batch).with_suffix(".failed.jsonl")
        return [str(row.get("id")) for _, row in _lines(path)]

    def ids(self, batch: Batch) -> list[str]:
        """Ids of a batch: of its records, then of the rows that came to nothing."""
        return [*(str(row.get("id")) for _, row in self.records(batch)), *self.failed(batch)]

    def tried(self) -> dict[str, int]:
        """Every row that was asked for, as :func:`note_tried` keeps it."""
        tried: dict[str, int] = {}
        for batch in self.batches():
            note_tried(tried, self.ids(batch), batch.step)
        return tried


def _batch(name: str) -> Batch | None:
    match = _ROWS.fullmatch(name)
    return None if match is None else Batch(int(match[1]), int(match[2]))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = loads(line)
                except ValueError as error:
                    raise UserError(f"{path}:{number}: not JSON; delete the file") from error
                if not isinstance(row, dict):
                    raise UserError(f"{path}:{number}: not a JSON object; delete the file")
                yield number, row
    except FileNotFoundError:
        return


def _differences(old: TrainingRun, new: TrainingRun) -> str:
    """What tells two runs apart, as "X was A, now B"; empty where nothing does."""
    pairs: Mapping[str, tuple[Any, Any]] = {name: (getattr(old, name), getattr(new, name)) for name in _IDENTITY}
    return "; ".join(f"{name} was {was}, now {now}" for name, (was, now) in pairs.items() if was != now)


def _write(path: Path, text: str) -> None:
    with AtomicWriter(path) as file:
        file.write_text(text)
        file.finish()
