"""The kit's table and its JSON."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.kit import Kit, Measure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

VERSION = 1
PACKAGES = ("torch", "transformers", "peft", "accelerate", "liger_kernel", "cut_cross_entropy", "triton")

Found = Mapping[str, Sequence[Measure]]


def failures(found: Found) -> int:
    """Figures beyond their tolerance."""
    return sum(measure.verdict == "FAIL" for measures in found.values() for measure in measures)


def write(path: Path, kit: Kit, found: Found, seconds: Mapping[str, float]) -> None:
    """All figures, and the machine they are of."""
    result = {
        "version": VERSION,
        "size": kit.sizes.name,
        "model": kit.model.name,
        "machine": machine(kit.device),
        "failures": failures(found),
        "checks": {
            name: {"seconds": round(seconds[name], 1), "measures": [measure.as_dict() for measure in measures]}
            for name, measures in found.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def machine(device: str) -> dict[str, Any]:
    """The card, or the processor, and the versions of what computes."""
    found: dict[str, Any] = {"device": device, "name": platform.processor() or platform.machine(), "memory_gib": None}
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {"name": card.name, "memory_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return {**found, "python": platform.python_version(), "versions": {name: _version(name) for name in PACKAGES}}


def table(kit: Kit, found: Found, seconds: Mapping[str, float]) -> None:
    """Print a line for each case."""
    about = machine(kit.device)
    title = f"{about['name']}, torch {about['versions']['torch']}, transformers {about['versions']['transformers']}"
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("check", "case", "figures", "verdict"):
        shown.add_column(column)
    for name, measures in found.items():
        first = f"{name} ({seconds[name]:.0f} s)"
        for case, of_case in groupby(measures, key=lambda measure: measure.case):
            group = list(of_case)
            verdicts = {measure.verdict for measure in group}
            verdict = next((one for one in ("FAIL", "not run", "ok") if one in verdicts), "")
            shown.add_row(first, case, ", ".join(map(_words, group)), verdict)
            first = ""
        shown.add_section()
    Console(width=None if Console().is_terminal else 160).print(shown)


def _words(measure: Measure) -> str:
    if measure.value is None:
        return measure.note
    limit = "" if measure.tolerance is None else f" ≤ {measure.tolerance:g}"
    number = f"{measure.value:,.0f}" if measure.value >= 1000 else f"{measure.value:.3g}"
    return f"{measure.figure} {number} {measure.unit}".rstrip() + limit


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
