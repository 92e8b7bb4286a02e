"""Training files for the ablation grid, cut from one rewriting run: stages dropped, rows matched, nothing sampled."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mindgap_data.errors import UserError
from mindgap_data.record import TIERS, record_error
from mindgap_data.rows.reading import read_rows

# The paper's ablation: which stages' responses a training file keeps; the rest fall back to the expert.
GRID: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"self"}),
    frozenset({"guided"}),
    frozenset({"self", "guided"}),
)


@dataclass(frozen=True)
class Row:
    """What choosing rows needs to know of one: its lengths in trained tokens."""

    tier: str
    tokens: int  # of the response as rewritten
    expert_tokens: int | None  # of the expert's; None where the file has no ids or log-probs for it


@dataclass(frozen=True)
class Selection:
    """One training file: which stages it keeps, and which rows of the input it has."""

    stages: frozenset[str]
    rows: frozenset[int]  # indices into the input
    tokens: int
    tiers: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """File name without its ending."""
        return cell_name(self.stages)


def cell_name(stages: Collection[str]) -> str:
    """expert, self+expert, guided+expert or all."""
    return "all" if len(stages) == 2 else "+".join([*stages, "expert"])


def read_lengths(path: Path) -> list[Row]:
    """Lengths of every row of a rewritten file, in order.

    Raises:
        UserError: a row is no valid record, or an id comes twice.
    """
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for line, row in _records(path):
        if row["id"] in seen:
            raise UserError(
                f"{path}:{line}: field id: {_short(row['id'])} is the id of line {seen[row['id']]} too; "
                "rows are matched by id, remove one"
            )
        seen[row["id"]] = line
        rows.append(Row(row["tier"], len(row["response_token_ids"]), _expert_tokens(row)))
    return rows


def require_expert_logprobs(path: Path, rows: Sequence[Row], cells: Collection[frozenset[str]]) -> None:
    """Refuse a file written without its experts' log-probs where a training file has to fall back to them.

    Raises:
        UserError: none of the rows to replace carries them. (Single rows may lack them: too long to score.)
    """
    replaced = [row for row in rows if row.tier != "expert" and any(row.tier not in stages for stages in cells)]
    if replaced and all(row.expert_tokens is None for row in replaced):
        raise UserError(
            f"{path}: no row has expert_token_ids and expert_logprobs, so none can fall back to the expert; "
            f"add them with: mindgap-data score {path} --expert -o SCORED"
        )


def select(
    rows: Sequence[Row], cells: Iterable[frozenset[str]], *, match_tokens: bool = False, seed: int = 0
) -> list[Selection]:
    """The rows of each training file.

    Every file has the same rows: those that can be had in each of them. With ``match_tokens`` rows
    are then dropped until no file has more trained tokens than the smallest one: rows are taken in
    one random order, the same for every file, each that still fits.

    Args:
        rows: the input's rows.
        cells: the stages each file keeps.
        match_tokens: whether to match token counts, too.
        seed: of the random order.
    """
    cells = list(cells)
    common = [i for i, row in enumerate(rows) if all(_tokens(row, stages) is not None for stages in cells)]
    full = [_selection(rows, stages, common) for stages in cells]
    if not match_tokens:
        return full
    budget = min(one.tokens for one in full)
    order = list(common)
    random.Random(seed).shuffle(order)
    return [_selection(rows, stages, _fitting(rows, stages, order, budget)) for stages in cells]


def selected_rows(path: Path, selection: Selection) -> Iterator[dict[str, Any]]:
    """The rows of a training file, in the order of the input; every one a valid record."""
    for index, (_, row) in enumerate(_records(path)):
        if index in selection.rows:
            yield row if row["tier"] == "expert" or row["tier"] in selection.stages else expert_row(row)


def expert_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A rewritten row as it would be had no stage found a correct response.

    ``expert_token_ids`` and ``expert_logprobs`` become the response's ids and policy log-probs; the
    input's own log-probs of the expert, where it brought them for the same ids, the behaviour's.
    The draw counts stay: they say what the rewriting run saw.
    """
    logged = row.get("input.behavior_logprobs")
    if row.get("input.response_token_ids") != row["expert_token_ids"]:
        logged = None
    return {
        **row,
        "messages": [*row["messages"][:-1], {**row["messages"][-1], "content": row["expert"]}],
        "tier": "expert",
        "response_token_ids": row["expert_token_ids"],
        "behavior_logprobs": logged,
        "policy_logprobs": row["expert_logprobs"],
        "attempts": {**row["attempts"], "expert_overlap": None, "near_copy": None},
        "provenance": {
            **row["provenance"],
            "behavior": None if logged is None else "logged",
            "behavior_prompt": None,
            "replaced_tier": row["tier"],
        },
    }


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, row in read_rows(path):
        if error := record_error(row):
            raise UserError(f"{path}:{line}: {error}; `mindgap-data validate {path}` lists every such row")
        yield line, row


def _expert_tokens(row: Mapping[str, Any]) -> int | None:
    if row["tier"] == "expert":
        return len(row["response_token_ids"])
    if row.get("expert_token_ids") is None or row.get("expert_logprobs") is None:
        return None
    return len(row["expert_token_ids"])


def _tokens(row: Row, stages: frozenset[str]) -> int | None:
    return row.tokens if row.tier in stages else row.expert_tokens


def _selection(rows: Sequence[Row], stages: frozenset[str], chosen: Collection[int]) -> Selection:
    tiers = Counter(rows[i].tier if rows[i].tier in stages else "expert" for i in chosen)
    tokens = sum(_tokens(rows[i], stages) or 0 for i in chosen)
    return Selection(stages, frozenset(chosen), tokens, Counter({tier: tiers[tier] for tier in TIERS}))


def _fitting(rows: Sequence[Row], stages: frozenset[str], order: Sequence[int], budget: int) -> list[int]:
    chosen, left = [], budget
    for index in order:
        tokens = _tokens(rows[index], stages) or 0
        if tokens <= left:
            chosen.append(index)
            left -= tokens
    return chosen


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
