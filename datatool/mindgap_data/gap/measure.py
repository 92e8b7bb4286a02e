"""Measures the gap of one rewritten file: rows in, figures by tier and what a reader must know beside them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.gap.figures import GapFigures, Settings, as_json, gap_figures
from mindgap_data.gap.noise import NoiseFloor, noise_file, read_noise
from mindgap_data.gap.records import GapRow, ScoringPolicy, read_gap_records
from mindgap_data.gap.sums import RowSums, reduce_rows
from mindgap_data.record import TIERS

Rows = Callable[[Path, list[str]], Iterable[GapRow]]


@dataclass(frozen=True)
class FileGap:
    """The gap of one file."""

    path: Path
    policy: ScoringPolicy  # that made the file's policy_logprobs
    sums: RowSums
    figures: dict[str, GapFigures | None]  # by tier and "all"
    notices: tuple[str, ...]  # one line each
    noise: NoiseFloor | None = None  # what `mindgap-data noise` found on the file, if it was run

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": str(self.path),
            "policy": asdict(self.policy),
            "notices": list(self.notices),
            "noise": None if self.noise is None else self.noise.as_dict(),
            "tiers": as_json(self.figures),
        }


def recorded_rows(path: Path, skipped: list[str]) -> Iterator[GapRow]:
    """Rows with the log-probs the file records; none is skipped."""
    del skipped
    for line, record in read_gap_records(path):
        yield GapRow.of(line, record)


def measure(path: Path, settings: Settings, rows: Rows = recorded_rows) -> FileGap:
    """The gap of ``path``, streamed.

    Args:
        path: a rewritten file.
        settings: clip and bootstrap.
        rows: gives the rows' log-probs; by default those recorded in the file.

    Raises:
        UserError: at the first row that cannot be used, or when no row is left.
    """
    _, first = next(iter(read_gap_records(path)))
    skipped: list[str] = []
    unchecked: list[str] = []
    sums = reduce_rows(_noting_unchecked(rows(path, skipped), unchecked), settings.clip, settings.clip_max)
    if len(sums.tier) == 0:
        raise UserError(f"{skipped[0]}; no row is left to measure")
    figures = gap_figures(sums, settings)
    found = noise_file(path)
    noise = read_noise(found) if found.exists() else None
    return FileGap(
        path, ScoringPolicy.of(first), sums, figures, tuple(_notices(path, figures, skipped, unchecked)), noise
    )


def refuse_mixed_policies(files: Iterable[FileGap]) -> None:
    """Raise UserError when two files' recorded log-probs are of different policies."""
    first, *rest = files
    for other in rest:
        if difference := first.policy.difference(other.policy):
            raise UserError(
                f"{other.path}: {difference} in {first.path}: their gaps are to different policies; "
                "measure them one by one, or both under one policy with --model"
            )


def _noting_unchecked(rows: Iterable[GapRow], unchecked: list[str]) -> Iterator[GapRow]:
    """The rows; the tier of each that nobody checked goes into ``unchecked``."""
    for row in rows:
        if row.unchecked:
            unchecked.append(row.tier)
        yield row


def _notices(
    path: Path, figures: dict[str, GapFigures | None], skipped: list[str], unchecked: list[str]
) -> Iterator[str]:
    for tier in TIERS:
        if figures[tier] is None:
            yield f"{path}: no {tier} rows"
    everything = figures["all"]
    assert everything is not None
    if unpaired := everything.rows - everything.paired:
        yield (
            f"{path}: {unpaired} of {everything.rows} rows have no expert_logprobs and are left out of the expert's "
            "figures; add them with `mindgap-data score --expert`, or rescore with --model"
        )
    if unchecked:
        of = " and ".join(f"{unchecked.count(tier)} {tier}" for tier in TIERS if tier in unchecked)
        yield f"{path}: {of} rows are unchecked: a small gap does not say that they are right"
    if skipped:
        yield f"{skipped[0]}; {len(skipped)} such row{'s are' if len(skipped) > 1 else ' is'} left out"
