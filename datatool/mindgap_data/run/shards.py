"""A part of a run's rows, chosen by their ids: for launchers that start many processes by themselves."""

from dataclasses import dataclass
from hashlib import blake2b


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count``: the rows whose id has that hash, in any order of rows and on any machine."""

    index: int  # from 1
    count: int

    def holds(self, key: str) -> bool:
        """Whether the row with this id belongs to the part."""
        return shard_of(key, self.count) == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def shard_of(key: str, count: int) -> int:
    """The part, from 1 to ``count``, that a row's id belongs to."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count + 1
