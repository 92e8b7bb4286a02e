"""Fingerprint of a recipe's data, for Axolotl's prepared-dataset cache, whose key ignores what is in a file."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Raise when the encoded columns change, so that datasets prepared by an older mindgap are not reused.
COLUMNS_VERSION = 1
HASHED_OPTIONS = ("mindgap", "mindgap_fingerprint", "excess_length_strategy", "base_model", "lora_model_dir")


def data_fingerprint(cfg: Any) -> str:
    """Fingerprint of the contents of every local data file the recipe names: 'sha256:' and 16 hex digits."""
    digest = hashlib.sha256(f"columns {COLUMNS_VERSION}\n".encode())
    for file in _local_files(cfg):
        with file.open("rb") as handle:
            digest.update(f"{file}\t{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()[:16]}"


def note_changes(cfg: Any) -> None:
    """Make the cache key cover file contents, the ``mindgap:`` block and what else decides on a row."""
    from axolotl.utils.data import shared

    cfg["mindgap_fingerprint"] = data_fingerprint(cfg)
    known = shared.DATASET_HASH_CONFIG_EXTRA_FIELDS
    shared.DATASET_HASH_CONFIG_EXTRA_FIELDS = (*known, *(name for name in HASHED_OPTIONS if name not in known))


def _local_files(cfg: Any) -> Iterator[Path]:
    for entry in [*(cfg.get("datasets") or []), *(cfg.get("test_datasets") or [])]:
        names = entry.get("data_files") or []
        for name in [entry.get("path"), *([names] if isinstance(names, str) else names)]:
            path = Path(str(name))
            if path.is_file():
                yield path
            elif path.is_dir():
                yield from sorted(file for file in path.rglob("*") if file.is_file())
