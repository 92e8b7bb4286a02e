"""A set or map of strings that lives on disk, so that memory does not grow with the number of rows."""

import sqlite3
import tempfile
from pathlib import Path


class KeyIndex:
    """Maps keys to integers in a temporary SQLite file that goes with the object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mindgap-")
        self._db = sqlite3.connect(Path(self._folder.name) / "index.db", isolation_level=None)
        # Nothing here outlives the process, so durability is traded for speed.
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add(self, key: str, value: int) -> bool:
        """Remember ``key``; False when it was there already (its value stays)."""
        return self._db.execute("INSERT OR IGNORE INTO entries VALUES (?, ?)", (key, value)).rowcount == 1

    def get(self, key: str) -> int | None:
        """The value of ``key``, or None."""
        found = self._db.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if found is None else int(found[0])

    def close(self) -> None:
        """Remove the file."""
        self._db.close()
        self._folder.cleanup()
