"""The folder of an evaluation: its settings and figures, read back."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.rows.jsonl import dumps
from mindgap_data.run.job import RunFiles
from mindgap_data.run.journal import changed_settings


def evaluation_files(folder: Path) -> RunFiles:
    """The files of an evaluation; ``output`` has a line a problem, with all its draws."""
    return RunFiles(
        folder / "generations.jsonl",
        failed=folder / "failed.jsonl",
        summary=folder / "summary.json",
        journal=folder / "journal",
        cluster=folder / "ray",
    )


def finished_summary(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run with these settings, or None where there is no finished run.

    Raises:
        UserError: the folder holds a run with other settings; each is named.
    """
    if not evaluation_files(folder).summary.exists():
        return None
    summary = read_summary(folder)
    old, new = summary["settings"], json.loads(dumps(dict(settings)))
    if changed := changed_settings(old, new):
        raise UserError(
            f"{folder}: holds a finished evaluation with other settings ({changed}); "
            "choose another -o, or replace it with --overwrite"
        )
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary.json of a finished evaluation.

    Raises:
        UserError: there is none, or it is something else.
    """
    path = evaluation_files(folder).summary
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{folder}: no summary.json; not the folder of a finished `mindgap-data evaluate`") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not isinstance(summary, dict) or not {"benchmarks", "settings"} <= set(summary):
        raise UserError(f"{path}: not the summary of an evaluation")
    return summary
