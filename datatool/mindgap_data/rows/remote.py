"""Remote files, through fsspec: s3://, gs://, hf:// and whatever else it knows, each fault in one line."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError, one_line

_URL = re.compile(r"[a-z][a-z0-9+.-]*://.+")
# Of an OSError: the local disk has no room for the copy.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_INSTALL = "pip install 'mindgap[remote]'"
_LOG_IN = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "run: gcloud auth application-default login",
    "gcs": "run: gcloud auth application-default login",
    "hf": "run: hf auth login",
}
# How services and their clients say that they do not let somebody in.
_UNKNOWN_USER = re.compile(r"credential|\b40[13]\b|anonymous|unauthori[sz]ed|forbidden|access denied", re.IGNORECASE)


def is_url(name: str) -> bool:
    """Whether a name is the address of a remote file."""
    return _URL.fullmatch(name) is not None


def fetch(url: str, local: Path) -> None:
    """Copy a remote file to ``local``.

    Raises:
        UserError: it is not there, the service does not give it, or it ends half-way.
        OSError: the local disk is full.
    """
    with _faults(url, "read"):
        files, path = _filesystem(url)
        about = files.info(path)
    if about["type"] == "directory":
        raise UserError(f"{url}: is a folder; name a file in it")
    size: int | None = about.get("size")
    try:
        with _faults(url, "read"):
            files.get_file(path, str(local))
    except UserError:
        _refuse_half(url, local, size)
        raise
    _refuse_half(url, local, size)


def send(local: Path, url: str) -> None:
    """Copy ``local`` to a remote file, over what is there.

    Raises:
        UserError: the service does not take it.
    """
    with _faults(url, "written"):
        files, path = _filesystem(url)
        files.put_file(str(local), path)


def exists(url: str) -> bool:
    """Whether there is such a remote file.

    Raises:
        UserError: the service does not tell.
    """
    with _faults(url, "read"):
        files, path = _filesystem(url)
        return bool(files.exists(path))


def remove(url: str) -> None:
    """Remove a remote file.

    Raises:
        UserError: the service does not do it.
    """
    with _faults(url, "removed"):
        files, path = _filesystem(url)
        files.rm_file(path)


def _filesystem(url: str) -> tuple[Any, str]:
    """What fsspec reads the address with, and the path in it."""
    if find_spec("fsspec") is None:
        raise UserError(f"{url}: remote paths need fsspec; run: {_INSTALL}")
    import fsspec

    scheme = url.partition("://")[0]
    if scheme not in fsspec.available_protocols():
        raise UserError(f"{url}: no such kind of path; s3://, gs://, hf:// and others that fsspec knows can be read")
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        remedy = f"run: {_INSTALL}" if scheme in _LOG_IN else "install it"
        raise UserError(f"{url}: needs a package that is not there ({one_line(error)}); {remedy}") from error
    return files, path


@contextmanager
def _faults(url: str, done: str) -> Iterator[None]:
    """Whatever a service or its client raises, as one line; a full local disk stays an OSError."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{url}: cannot be {done}: there is no such file, bucket or folder") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        reason = one_line(error)
        unknown = isinstance(error, PermissionError) or _UNKNOWN_USER.search(f"{type(error).__name__} {reason}")
        log_in = _LOG_IN.get(url.partition("://")[0]) if unknown else None
        raise UserError(f"{url}: cannot be {done}: {reason}{f'; {log_in}' if log_in else ''}") from error


def _refuse_half(url: str, local: Path, size: int | None) -> None:
    copied = local.stat().st_size if local.exists() else 0
    if size is not None and 0 < copied < size:
        raise UserError(f"{url}: ended after {copied:,} of {size:,} bytes; run the command again")
