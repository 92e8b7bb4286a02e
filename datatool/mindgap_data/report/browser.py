"""The row browser's data: texts, token log-probs in a compact code, and per-row numbers for the charts."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mindgap_data.checks.finding import RowFinding
from mindgap_data.checks.response import inspect
from mindgap_data.checks.tally import FileTally
from mindgap_data.gap.records import GapRow, read_gap_records
from mindgap_data.record import TIERS, Message, Record
from mindgap_data.report.pieces import TokenPieces
from mindgap_data.statistics import Floats

# A browser lays out a longer text badly; the page says that it was cut.
MAX_TEXT = 20_000
MAX_TOKENS = 6_000

# Log-probs are shown to 0.01 nats between these ends, two characters a token.
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PAIRS = np.array([a + b for a in _ALPHABET for b in _ALPHABET])
CODE_LOW, CODE_STEP = -30.0, 0.01


@dataclass
class RowCollection:
    """What one pass over a file gathers beside the gap's sums."""

    tally: FileTally = field(default_factory=FileTally)
    overlap: list[float] = field(default_factory=list)  # with the expert, NaN where not measured, by row
    pass_rate: list[float] = field(default_factory=list)  # NaN where the self stage did not run, by row
    shown: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # (row number, what the page shows)


def collect_rows(
    path: Path, collection: RowCollection, pieces: TokenPieces | None, max_rows: int, seed: int
) -> Iterator[GapRow]:
    """Stream a file's gap rows, gathering what the page shows on the way.

    At most ``max_rows`` rows are kept to be shown, a uniform sample (reservoir, Vitter 1985) of a longer file.
    """
    rng = random.Random(seed)
    for number, (line, record) in enumerate(read_gap_records(path)):
        row, findings = GapRow.of(line, record), inspect(record)
        collection.tally.add(record, findings)
        collection.overlap.append(_or_nan(record.attempts.expert_overlap))
        collection.pass_rate.append(_or_nan(record.attempts.pass_rate))
        slot = number if number < max_rows else rng.randrange(number + 1)
        if slot < max_rows:
            shown = (number, _shown_row(record, row, findings, pieces))
            if slot < len(collection.shown):
                collection.shown[slot] = shown
            else:
                collection.shown.append(shown)
        yield row
    collection.shown.sort(key=lambda item: item[0])


def _shown_row(
    record: Record, row: GapRow, findings: Sequence[RowFinding], pieces: TokenPieces | None
) -> dict[str, Any]:
    """One row as the page embeds it; keys are short because there are thousands."""
    chosen, expert = record.messages[-1].content, record.expert
    shown: dict[str, Any] = {
        "id": _text(record.id[:200]),
        "t": TIERS.index(row.tier),
        "q": _text(_prompt(record.messages[:-1])),
        "c": _text(chosen),
        "e": _text(expert),
        "cp": encode_logprobs(row.chosen),
        "pr": record.attempts.pass_rate,
        "ov": record.attempts.expert_overlap,
        "cut": max(len(chosen), len(expert)) > MAX_TEXT or max(len(row.chosen), _length(row.expert)) > MAX_TOKENS,
        "f": [[finding.kind, _text(finding.detail)] for finding in findings],
        "n": len(row.chosen),
        "nll": [
            round(-float(row.chosen.mean()), 4),
            None if row.expert is None else round(-float(row.expert.mean()), 4),
        ],
        "m": _length(row.expert),
    }
    if row.tier != "expert" and row.expert is not None:
        shown["ep"] = encode_logprobs(row.expert)
    # A self row's ratios are 0 unless something is off; the page knows that without being told.
    if row.behavior is not None and (row.tier == "expert" or np.abs(row.is_log_ratio).max() > CODE_STEP / 2):
        shown["cw"] = encode_logprobs(row.is_log_ratio)
    if pieces is not None:
        shown["cl"] = _lengths(pieces, record.response_token_ids, chosen)
        if row.tier != "expert" and record.expert_token_ids is not None:
            shown["el"] = _lengths(pieces, record.expert_token_ids, expert)
    return shown


def encode_logprobs(values: Floats) -> str:
    """Two characters a token: 0.01-nat steps from -30, the ends clamped."""
    codes = np.rint((values[:MAX_TOKENS] - CODE_LOW) / CODE_STEP).clip(0, len(_PAIRS) - 1).astype(np.int64)
    return "".join(_PAIRS[codes].tolist())


def encode_lengths(values: npt.ArrayLike) -> str | None:
    """Two characters a token, or None when a piece is too long for the code."""
    lengths = np.asarray(values, dtype=np.int64)[:MAX_TOKENS]
    return "".join(_PAIRS[lengths].tolist()) if lengths.size and lengths.max() < len(_PAIRS) else None


def _lengths(pieces: TokenPieces, ids: list[int], text: str) -> str | None:
    found = pieces.lengths(ids[:MAX_TOKENS], text)
    return None if found is None else encode_lengths(found)


def _prompt(turns: Sequence[Message]) -> str:
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join(f"[{turn.role}] {turn.content}" for turn in turns)


def _text(text: str) -> str:
    """Cut to what the page shows, lone surrogates replaced: the page is UTF-8."""
    return text[:MAX_TEXT].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _length(values: Floats | None) -> int:
    return 0 if values is None else len(values)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
