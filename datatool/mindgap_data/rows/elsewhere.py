"""Standard input and output, and remote files: local files stand in for them.

An input is read more than once and a torn output is none, so an input is copied here before the first row is read,
and an output is brought to its place when it is whole. A stand-in is a path: it opens as the local file, and messages
show it under the name that the user gave.
"""

import io
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from pathlib import Path, PosixPath
from tempfile import TemporaryDirectory, mkdtemp
from typing import BinaryIO, Self

from mindgap_data.errors import UserError
from mindgap_data.rows.remote import DISK_FULL, exists, fetch, is_url, remove, send

STANDARD = "-"
# The first bytes of what is not JSONL, and the ending a file of it has.
_MAGIC = ((b"\x1f\x8b", ".json.gz"), (b"PAR1", ".parquet"), (b"[", ".json"))
_BOM = b"\xef\xbb\xbf"


def is_elsewhere(name: str) -> bool:
    """Whether a name means something other than a path on this machine."""
    return name == STANDARD or is_url(name)


# Outputs on their way to a remote place, in the working folder: a rerun finds its journal there.
REMOTE_ROOT = Path(".mindgap")


class StandIn(PosixPath):
    """The path of a local file that stands in for one elsewhere."""

    shown: str | None = None  # None: a path derived from a stand-in, of a local file

    @classmethod
    def at(cls, local: Path, shown: str) -> Self:
        """``local``, shown as ``shown``."""
        path = cls(local)
        path.shown = shown
        return path

    def __str__(self) -> str:
        return self.shown or super().__str__()

    def __fspath__(self) -> str:
        return super().__str__()

    @property
    def local(self) -> Path:
        """The local file, shown as what it is."""
        return Path(os.fspath(self))

    @property
    def parent(self) -> Path:  # type: ignore[override]
        """The folder of the local file."""
        return self.local.parent

    def with_name(self, name: str) -> Path:  # type: ignore[override]
        """A file beside the local one, which stands in for nothing."""
        return self.local.with_name(name)


class InputCopy(StandIn):
    """The local copy of an input that is elsewhere; files named after it belong in the working folder."""

    def with_name(self, name: str) -> Path:  # type: ignore[override]
        """A path in the working folder."""
        return Path(name)


class OutputStandIn(StandIn):
    """A local file that is brought to where it belongs when it is whole."""

    @abstractmethod
    def deliver(self) -> None:
        """Bring the content there, and remove the local file.

        Raises:
            UserError: it could not be brought there; the local file stays, and the message says where.
        """


class StandardOutput(OutputStandIn):
    """A local file whose content goes to standard output when it is whole."""

    stream: BinaryIO

    @classmethod
    def to(cls, stream: BinaryIO, local: Path) -> Self:
        """``local``, bound for ``stream``."""
        path = cls.at(local, "standard output")
        path.stream = stream
        return path

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Standard output holds nothing that could be overwritten."""
        return False

    def deliver(self) -> None:
        """Write the content to standard output."""
        try:
            with self.local.open("rb") as file:
                shutil.copyfileobj(file, self.stream)
            self.stream.flush()
        except OSError as error:
            raise UserError(
                f"standard output: cannot be written: {error.strerror or error}; the rows are in {self.local}"
            ) from error
        self.local.unlink()


class RemoteOutput(OutputStandIn):
    """A local file that is sent to a remote one when it is whole.

    Whether it exists and what :meth:`unlink` removes is the remote file. Names and files beside it are remote, too.
    """

    @classmethod
    def to(cls, url: str) -> Self:
        """The stand-in for ``url``, below .mindgap/ in the working folder: for one address always the same."""
        path = cls.at(REMOTE_ROOT.joinpath(*_parts(url)), url)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def with_name(self, name: str) -> "RemoteOutput":
        """The stand-in for a file beside the remote one."""
        return RemoteOutput.to(f"{str(self).rpartition('/')[0]}/{name}")

    def __truediv__(self, name: str | os.PathLike[str]) -> "RemoteOutput":
        return RemoteOutput.to(f"{self}/{os.fspath(name)}")

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether the remote file exists."""
        return exists(str(self))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whatever exists there is a file, or is taken for one."""
        return self.exists()

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the remote file."""
        if not missing_ok or self.exists():
            remove(str(self))

    def deliver(self) -> None:
        """Send the content, and remove the local file."""
        try:
            send(self.local, str(self))
        except UserError as error:
            raise UserError(
                f"{error.message}; the finished file is {self.local}, and the same command sends it again"
            ) from error
        self.local.unlink()


def deliver(path: Path) -> None:
    """Bring a finished output to where it belongs; a plain path is there already."""
    if isinstance(path, OutputStandIn):
        path.deliver()


def local_input(name: str) -> Path:
    """The path of an input, local now: a copy where it is elsewhere.

    Raises:
        UserError: it cannot be had, or the disk has no room for the copy.
    """
    if name == STANDARD:
        return _standard_input()
    return _remote_input(name) if is_url(name) else Path(name)


@contextmanager
def rows_only() -> Iterator[BinaryIO]:
    """Gives standard output to rows alone: what else this process and its children print goes to standard error."""
    if (number := _file_number(sys.stdout)) is None:  # not a file: a test runner's
        stream: BinaryIO = sys.stdout.buffer
        with redirect_stdout(sys.stderr):
            yield stream
        return
    sys.stdout.flush()
    kept = os.dup(number)
    os.dup2(sys.stderr.fileno(), number)
    rows = os.fdopen(os.dup(kept), "wb")
    try:
        yield rows
    finally:
        with suppress(OSError):  # said already, by what could not be written
            rows.close()
        sys.stdout.flush()
        os.dup2(kept, number)
        os.close(kept)


def _file_number(stream: object) -> int | None:
    try:
        return stream.fileno()  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, io.UnsupportedOperation):
        return None


def _parts(url: str) -> list[str]:
    scheme, _, rest = url.partition("://")
    return [scheme, *(part for part in rest.split("/") if part not in ("", ".", ".."))]


def _standard_input() -> InputCopy:
    local = _place("stdin")
    try:
        with local.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        with local.open("rb") as file:
            start = file.read(1 << 16).removeprefix(_BOM).lstrip()
    except OSError as error:
        raise _copy_error("stdin", local, error) from error
    if not local.stat().st_size:
        raise UserError("stdin: nothing came; `-` reads rows from a pipe, and can be given only once")
    ending = next((ending for magic, ending in _MAGIC if start.startswith(magic)), ".jsonl")
    return InputCopy.at(local.rename(local.with_name(f"stdin{ending}")), "stdin")


def _remote_input(url: str) -> InputCopy:
    local = _place(url.rstrip("/").rpartition("/")[2])
    try:
        fetch(url, local)
    except OSError as error:
        raise _copy_error(url, local, error) from error
    return InputCopy.at(local, url)


def _copy_error(name: str, local: Path, error: OSError) -> UserError:
    """What to say where an input could not be copied."""
    if error.errno in DISK_FULL:
        return UserError(
            f"{name}: the copy in {local.parent} cannot be written: {error.strerror}; "
            "free some room there, or set TMPDIR to a folder that has it"
        )
    return UserError(f"{name}: cannot be read: {error.strerror or error}")


def _place(name: str) -> Path:
    """A new file of this name in a folder of its own."""
    try:
        return Path(mkdtemp(dir=_scratch().name)) / name
    except OSError as error:
        raise UserError(
            f"{name}: there is no folder for a copy of the input: {error.strerror}; "
            "set TMPDIR to one that can be written"
        ) from error


@cache
def _scratch() -> "TemporaryDirectory[str]":
    """A folder that goes when the process ends."""
    return TemporaryDirectory(prefix="mindgap-")
