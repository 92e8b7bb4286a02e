"""The folder of a run on a cluster, which every node sees: its rows, what they became, and who worked on them."""

import fcntl
import json
import os
import shutil
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mindgap_data.engines import EngineIdentity, Sampling
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.rows.jsonl import dumps
from mindgap_data.run.cluster.work import KnownEngine, Result
from mindgap_data.run.journal import changed_settings, refuse_changes

# A part of the table: as many rows as a reader holds at a time.
PART_ROWS, PART_BYTES = 4096, 8 << 20
# What of an engine the driver is told.
_ENGINE = ("name", "max_context", "revision", "dtype")


@dataclass(frozen=True)
class WorkFolder:
    """Where everything of the run lies; picklable, and the same path on every node."""

    path: Path
    run: str  # of the driver: a rerun has another one

    @property
    def table(self) -> Path:
        """The rows, in two columns: id, from 1, and line."""
        return self.path / "table"

    @property
    def shards(self) -> Path:
        """What rows became, as Ray Data writes it."""
        return self.path / "shards"

    @property
    def done(self) -> Path:
        """Ray Data's checkpoint: a file for every shard that is whole."""
        return self.path / "done"

    @property
    def journals(self) -> Path:
        """What each replica has drawn."""
        return self.path / "journals"

    def prepare(self) -> None:
        """Make it, and forget what concerned an earlier driver alone."""
        for folder in ("replicas", "faults"):
            shutil.rmtree(self.path / folder, ignore_errors=True)
        for folder in ("replicas", "faults", "journals", "done", "shards"):
            (self.path / folder).mkdir(exist_ok=True)
        self._replace("run", self.run)

    def is_shared(self) -> bool:
        """Whether this machine sees the folder as the driver made it."""
        try:
            return (self.path / "run").read_text() == self.run
        except OSError:
            return False

    # --- rows ---

    def write_table(self, lines: Iterable[str]) -> int:
        """Write the rows unless an earlier driver has; returns how many they are."""
        marker = self.path / "table.json"
        if marker.exists():
            return int(json.loads(marker.read_text())["rows"])
        shutil.rmtree(self.table, ignore_errors=True)
        self.table.mkdir()
        rows, part, size = 0, list[str](), 0
        for line in lines:
            part.append(line)
            size += len(line)
            if len(part) == PART_ROWS or size >= PART_BYTES:
                rows += self._write_part(rows, part)
                part, size = [], 0
        if part:
            rows += self._write_part(rows, part)
        self._replace("table.json", dumps({"rows": rows}))
        return rows

    def _write_part(self, before: int, lines: list[str]) -> int:
        import pyarrow
        import pyarrow.parquet

        ids = pyarrow.array(range(before + 1, before + len(lines) + 1), pyarrow.int64())
        table = pyarrow.table({"id": ids, "line": pyarrow.array(lines, pyarrow.large_string())})
        pyarrow.parquet.write_table(table, self.table / f"{before:012d}.parquet")
        return len(lines)

    def finished(self) -> int:
        """How many rows the whole shards hold."""
        import numpy as np
        import pyarrow.parquet

        ids = [pyarrow.parquet.read_table(path, columns=["id"])["id"].to_numpy() for path in self._whole()]
        return len(np.unique(np.concatenate(ids))) if ids else 0

    def results(self, rows: int) -> Iterator[Result[Any]]:
        """What the rows became, in their order.

        A row is taken once: a driver that was killed may have left a task running that wrote a shard again.

        Raises:
            UserError: a row has no result.
        """
        import pyarrow.parquet

        shards = deque(sorted((_first_id(path), path) for path in self._whole()))
        waiting: dict[int, Result[Any]] = {}
        for row in range(1, rows + 1):
            while row not in waiting and shards and shards[0][0] <= row:
                for values in pyarrow.parquet.read_table(shards.popleft()[1]).to_pylist():
                    if values["id"] >= row:
                        waiting[values["id"]] = Result(**values)
            if row not in waiting:
                raise UserError(f"{self.path}: row {row} of the table has no result; run the same command again")
            yield waiting.pop(row)

    def _whole(self) -> list[Path]:
        """The shards whose writing was completed: those that Ray Data has in its checkpoint."""
        names = {path.name.removesuffix(".parquet") for path in self.done.glob("*.parquet")}
        return [path for path in self.shards.glob("*.parquet") if _written_by(path) in names]

    # --- settings and the engine ---

    def agree(self, settings: Mapping[str, Any], engine: EngineIdentity) -> None:
        """Leave the settings and the engine's facts for the others, or compare them with what is there.

        Raises:
            UserError: an unfinished run, or another node, has others; each is named.
        """
        facts = {name: getattr(engine, name) for name in _ENGINE}
        mine = json.loads(dumps({"run": self.run, "settings": dict(settings), "engine": facts}))
        scratch = self._scratch(dumps(mine))
        try:
            os.link(scratch, self.path / "settings.json")  # unlike a rename it never replaces
        except FileExistsError:
            theirs = json.loads((self.path / "settings.json").read_text())
            if theirs["run"] != self.run:
                refuse_changes(self.path, theirs["settings"], mine["settings"])
            elif changed := changed_settings(theirs, mine):
                raise UserError(
                    f"{os.uname().nodename}: differs from the node that began ({changed}); give all nodes the same "
                    "model and versions, or choose other nodes"
                ) from None
        finally:
            scratch.unlink()

    def known_engine(self, tokenizer: ChatTokenizer, sampling: Sampling) -> KnownEngine:
        """The engine that the replicas have open."""
        facts = json.loads((self.path / "settings.json").read_text())["engine"]
        return KnownEngine(tokenizer=tokenizer, sampling=sampling, **facts)

    # --- replicas ---

    def tell(self, replica: str, state: Mapping[str, Any]) -> None:
        """What a replica has done so far."""
        self._replace(f"replicas/{replica}.json", dumps(dict(state)))

    def told(self) -> list[dict[str, Any]]:
        """What the replicas of this driver have done so far."""
        return [json.loads(path.read_text()) for path in sorted((self.path / "replicas").glob("*.json"))]

    def tell_fault(self, reason: str) -> None:
        """Why a replica is about to end."""
        self._replace(f"faults/{uuid.uuid4().hex}.txt", reason)

    def faults(self) -> list[str]:
        """Why replicas of this driver have ended."""
        return [path.read_text() for path in (self.path / "faults").glob("*.txt")]

    def remove(self) -> None:
        """The output is whole."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _replace(self, name: str, text: str) -> None:
        os.replace(self._scratch(text), self.path / name)

    def _scratch(self, text: str) -> Path:
        path = self.path / f".{uuid.uuid4().hex}"
        path.write_text(text)
        return path


class LockedFolder:
    """The work folder, held by one driver; a context manager that gives a :class:`WorkFolder`."""

    def __init__(self, path: Path, restart: bool) -> None:
        """Take ``path``, made where there is none.

        Raises:
            UserError: another driver holds it, or it cannot be made.
        """
        try:
            if restart:
                shutil.rmtree(path, ignore_errors=True)
            path.mkdir(exist_ok=True)
            self._lock = (path / "lock").open("a")
            self.folder = WorkFolder(Path(os.path.abspath(path)), uuid.uuid4().hex)
        except OSError as error:
            raise UserError(f"{path}: the folder cannot be made: {error.strerror}") from error

    def __enter__(self) -> WorkFolder:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{self.folder.path}: another run is writing this output; wait for it or choose another -o"
            ) from error
        self.folder.prepare()
        return self.folder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()


def result_table(results: Iterable[Result[Any]]) -> Any:
    """Results as Ray Data takes them from a replica, a pyarrow.Table."""
    import pyarrow

    types = {
        "id": pyarrow.int64(),
        "status": pyarrow.string(),
        "value": pyarrow.large_string(),
        "draws": pyarrow.int64(),
        "drawn_tokens": pyarrow.int64(),
        "scored_tokens": pyarrow.int64(),
    }
    return pyarrow.Table.from_pylist([asdict(result) for result in results], schema=pyarrow.schema(list(types.items())))


def _first_id(path: Path) -> int:
    import pyarrow.compute
    import pyarrow.parquet

    return int(pyarrow.compute.min(pyarrow.parquet.read_table(path, columns=["id"])["id"]).as_py())


def _written_by(shard: Path) -> str:
    """The name that Ray Data's checkpoint has of the task that wrote a shard, TASK-0.parquet."""
    return shard.name.rpartition("-")[0]
