"""The rows a report shows: texts, token log-probs in a compact code, and per-row numbers for its charts."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mindgap_data.gap.rows import Floats, GapRow, gap_row, read_gap_records
from mindgap_data.record import TIERS
from mindgap_data.report.pieces import TokenPieces
from mindgap_data.rewrite.leaks import mentions_reference

# A browser lays out a longer text badly; the page says that it was cut.
MAX_TEXT = 20_000
MAX_TOKENS = 6_000

# Log-probs are shown to 0.01 nats between these ends, two characters a token.
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PAIRS = np.array([a + b for a in _ALPHABET for b in _ALPHABET])
CODE_LOW, CODE_STEP = -30.0, 0.01

_STAGES = ("self", "guided")
_OUTCOMES = ("sampled", "correct", "wrong", "truncated", "no_answer", "checker_error", "leaked")


@dataclass
class RowCollection:
    """What one pass over a file gathers beside the gap's sums."""

    tokens: int = 0
    characters: list[tuple[int, int]] = field(default_factory=list)  # of chosen and expert text, by row
    overlap: list[float] = field(default_factory=list)  # with the expert, NaN where not measured, by row
    pass_rate: list[float] = field(default_factory=list)  # NaN where the self stage did not run, by row
    leaks: int = 0  # kept self or guided responses that mention a reference solution
    near_copies: int = 0
    attempts: dict[str, dict[str, int]] = field(
        default_factory=lambda: {stage: dict.fromkeys(_OUTCOMES, 0) for stage in _STAGES}
    )
    shown: list[tuple[int, dict[str, Any]]] = field(default_factory=list)  # (row number, what the page shows)


def collect_rows(
    path: Path, collection: RowCollection, pieces: TokenPieces | None, max_rows: int, seed: int
) -> Iterator[GapRow]:
    """Stream a file's gap rows, gathering what the page shows on the way.

    At most ``max_rows`` rows are kept to be shown, a uniform sample (reservoir, Vitter 1985) of a longer file.
    """
    rng = random.Random(seed)
    for number, (line, record) in enumerate(read_gap_records(path)):
        row = gap_row(path, line, record)
        leak = None if row.tier == "expert" else mentions_reference(_chosen(record)[:MAX_TEXT])
        _count(record, leak, collection)
        slot = number if number < max_rows else rng.randrange(number + 1)
        if slot < max_rows:
            shown = (number, _shown_row(record, row, leak, pieces))
            if slot < len(collection.shown):
                collection.shown[slot] = shown
            else:
                collection.shown.append(shown)
        yield row
    collection.shown.sort(key=lambda item: item[0])


def _count(record: dict[str, Any], leak: str | None, collection: RowCollection) -> None:
    attempts = record["attempts"]
    collection.characters.append((len(_chosen(record)), len(record["expert"])))
    collection.overlap.append(_number(attempts.get("expert_overlap")))
    collection.pass_rate.append(_number(attempts.get("pass_rate")))
    collection.leaks += leak is not None
    collection.near_copies += attempts.get("near_copy") is True
    for stage in _STAGES:
        counts = attempts.get(stage)
        if not isinstance(counts, dict):
            continue
        for outcome in _OUTCOMES:
            value = counts.get(outcome, 0)
            collection.attempts[stage][outcome] += value if isinstance(value, int) else 0


def _shown_row(record: dict[str, Any], row: GapRow, leak: str | None, pieces: TokenPieces | None) -> dict[str, Any]:
    """One row as the page embeds it; keys are short because there are thousands."""
    chosen, expert = _chosen(record), record["expert"]
    attempts = record["attempts"]
    shown: dict[str, Any] = {
        "id": _text(str(record["id"])[:200]),
        "t": TIERS.index(row.tier),
        "q": _text(_prompt(record)),
        "c": _text(chosen),
        "e": _text(expert),
        "cp": encode_logprobs(row.chosen),
        "pr": _null(_number(attempts.get("pass_rate"))),
        "ov": _null(_number(attempts.get("expert_overlap"))),
        "cut": max(len(chosen), len(expert)) > MAX_TEXT or max(len(row.chosen), _length(row.expert)) > MAX_TOKENS,
        "leak": leak,
        "copy": attempts.get("near_copy") is True,
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
        shown["cl"] = _lengths(pieces, record["response_token_ids"], chosen)
        if row.tier != "expert" and row.expert is not None:
            shown["el"] = _expert_lengths(pieces, record, row.expert)
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


def _expert_lengths(pieces: TokenPieces, record: dict[str, Any], expert: Floats) -> str | None:
    ids = record.get("expert_token_ids")
    if not isinstance(ids, list) or len(ids) != len(expert):
        return None
    return _lengths(pieces, ids, record["expert"])


def _chosen(record: dict[str, Any]) -> str:
    text: str = record["messages"][-1]["content"]
    return text


def _prompt(record: dict[str, Any]) -> str:
    turns = record["messages"][:-1]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n\n".join(f"[{turn.get('role', '')}] {turn['content']}" for turn in turns)


def _text(text: str) -> str:
    """Cut to what the page shows, lone surrogates replaced: the page is UTF-8."""
    return text[:MAX_TEXT].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _length(values: Floats | None) -> int:
    return 0 if values is None else len(values)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _null(value: float) -> float | None:
    return value if value == value else None
