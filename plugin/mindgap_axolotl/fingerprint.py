"""Fingerprint of a recipe's data, for Axolotl's prepared-dataset cache, whose key ignores what is in a file."""

import hashlib
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from axolotl.utils.logging import get_logger

LOG = get_logger(__name__)

# Raise when the encoded columns change, so that datasets prepared by an older mindgap are not reused.
COLUMNS_VERSION = 3
HASHED_OPTIONS = (
    "mindgap", "mindgap_fingerprint", "excess_length_strategy", "base_model", "lora_model_dir", "chat_template_kwargs",
)  # fmt: skip


def data_fingerprint(cfg: Any) -> str:
    """Fingerprint of the data a recipe names: 'sha256:' and 16 hex digits.

    It covers the contents of local files, of those a pattern stands for, and what a remote file system
    says of a file's state (fsspec's ``ukey``: an ETag, a checksum, size and time). A path whose contents
    cannot be seen, such as a dataset of the hub, is warned of.
    """
    digest = hashlib.sha256(f"columns {COLUMNS_VERSION}\n".encode())
    for name in _names(cfg):
        states = sorted(_states(name))
        if not states:
            LOG.warning(
                f"{name}: its contents cannot be fingerprinted, so a later change goes unnoticed; delete "
                f"dataset_prepared_path ({cfg.get('dataset_prepared_path') or 'last_run_prepared'}) when it changes"
            )
        digest.update("".join(states).encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def note_changes(cfg: Any) -> None:
    """Make the cache key cover file contents, the ``mindgap:`` block and what else decides on a row."""
    from axolotl.utils.data import shared

    cfg["mindgap_fingerprint"] = data_fingerprint(cfg)
    known = shared.DATASET_HASH_CONFIG_EXTRA_FIELDS
    shared.DATASET_HASH_CONFIG_EXTRA_FIELDS = (*known, *(name for name in HASHED_OPTIONS if name not in known))


def _names(cfg: Any) -> Iterator[str]:
    """Paths, patterns and URLs of the recipe's datasets: their data_files where they have any, else their path."""
    for entry in [*(cfg.get("datasets") or []), *(cfg.get("test_datasets") or [])]:
        files = entry.get("data_files")
        if isinstance(files, dict):  # split -> files
            files = [name for value in files.values() for name in ([value] if isinstance(value, str) else value)]
        yield from [files] if isinstance(files, str) else files or [str(entry.get("path"))]


def _states(name: str) -> Iterator[str]:
    """One line for each file that ``name`` stands for: where it is and what is in it."""
    if "://" in name:
        yield from _remote_states(name)
        return
    for found in [name] if Path(name).exists() or not has_magic(name) else glob(name, recursive=True):
        path = Path(found)
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                with file.open("rb") as handle:
                    yield f"{file}\t{hashlib.file_digest(handle, 'sha256').hexdigest()}\n"


def _remote_states(url: str) -> Iterator[str]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
        states = [f"{file}\t{system.ukey(file)}\n" for file in system.expand_path(path, recursive=True)]
    except (OSError, ImportError, ValueError, NotImplementedError):
        return  # no such backend, no network, no such file: Axolotl says so when it loads it
    yield from states
