"""Training files for the ablation grid, cut from one rewriting run: stages dropped, rows matched, nothing sampled."""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mindgap_data.errors import UserError, one_line
from mindgap_data.policy.thoughts import inline_thought
from mindgap_data.record import TIERS, Message, Record
from mindgap_data.rows.records import read_records

# The paper's ablation: which stages' responses a training file keeps; the rest fall back to the expert.
GRID: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"self"}),
    frozenset({"guided"}),
    frozenset({"self", "guided"}),
)


@dataclass(frozen=True)
class RowLengths:
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


def read_lengths(path: Path) -> list[RowLengths]:
    """Lengths of every row of a rewritten file, in order.

    Raises:
        UserError: a row is not a valid record, or an id comes twice.
    """
    rows: list[RowLengths] = []
    seen: dict[str, int] = {}
    for line, record in read_records(path):
        if record.id in seen:
            raise UserError(
                f"{path}:{line}: field id: {one_line(record.id, 40)!r} is the id of line {seen[record.id]} too; "
                "rows are matched by id, remove one"
            )
        seen[record.id] = line
        rows.append(RowLengths(record.tier, len(record.response_token_ids), _expert_tokens(record)))
    return rows


def require_expert_logprobs(path: Path, rows: Sequence[RowLengths], cells: Collection[frozenset[str]]) -> None:
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
    rows: Sequence[RowLengths], cells: Iterable[frozenset[str]], *, match_tokens: bool = False, seed: int = 0
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


def selected_records(path: Path, selection: Selection) -> Iterator[Record]:
    """The records of a training file, in the order of the input."""
    for index, (_, record) in enumerate(read_records(path)):
        if index in selection.rows:
            kept = record.tier == "expert" or record.tier in selection.stages
            yield record if kept else expert_record(record)


def expert_record(record: Record) -> Record:
    """A rewritten record as it would be had no stage found a correct response.

    ``expert_token_ids`` and ``expert_logprobs`` become the response's ids and policy log-probs; the
    input's own log-probs of the expert, where it brought them for the same ids, the behaviour's.
    The draw counts stay: they say what the rewriting run saw.
    """
    extra = record.model_extra or {}
    same_ids = extra.get("input.response_token_ids") == record.expert_token_ids
    logged = extra.get("input.behavior_logprobs") if same_ids else None
    last = Message.model_validate({"role": "assistant", **_expert_turn(record)})
    return record.model_copy(
        update={
            "messages": [*record.messages[:-1], last],
            "tier": "expert",
            **({} if record.hint is None else {"hint": None}),
            "response_token_ids": record.expert_token_ids,
            "behavior_logprobs": logged,
            "policy_logprobs": record.expert_logprobs,
            "attempts": record.attempts.model_copy(update={"expert_overlap": None, "near_copy": None}),
            "provenance": record.provenance.model_copy(
                update={
                    "behavior": None if logged is None else "logged",
                    "behavior_prompt": None,
                    "replaced_tier": record.tier,
                }
            ),
        }
    )


def _expert_turn(record: Record) -> dict[str, str]:
    """What the expert's ids decode to: its thought is in them only where the template knows thoughts."""
    thought, text = record.expert_reasoning, record.expert
    if record.provenance.expert_thinking is None:
        thought = None
    elif thought is None:
        thought, text = inline_thought(text)
    return {"content": text, **({"reasoning_content": thought} if thought else {})}


def _expert_tokens(record: Record) -> int | None:
    if record.tier == "expert":
        return len(record.response_token_ids)
    if record.expert_token_ids is None or record.expert_logprobs is None:
        return None
    return len(record.expert_token_ids)


def _tokens(row: RowLengths, stages: frozenset[str]) -> int | None:
    return row.tokens if row.tier in stages else row.expert_tokens


def _selection(rows: Sequence[RowLengths], stages: frozenset[str], chosen: Collection[int]) -> Selection:
    tiers = Counter(rows[i].tier if rows[i].tier in stages else "expert" for i in chosen)
    tokens = sum(_tokens(rows[i], stages) or 0 for i in chosen)
    return Selection(stages, frozenset(chosen), tokens, Counter({tier: tiers[tier] for tier in TIERS}))


def _fitting(rows: Sequence[RowLengths], stages: frozenset[str], order: Sequence[int], budget: int) -> list[int]:
    chosen, left = [], budget
    for index in order:
        tokens = _tokens(rows[index], stages) or 0
        if tokens <= left:
            chosen.append(index)
            left -= tokens
    return chosen
