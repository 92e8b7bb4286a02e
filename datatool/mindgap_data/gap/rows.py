"""Rows as the gap sees them: log-probs of both sides as arrays, checked, streamed from a file."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mindgap_data.errors import UserError
from mindgap_data.record import LOGPROB_SLACK, TIERS, record_error
from mindgap_data.rows.reading import read_rows

Floats = npt.NDArray[np.float64]

# What must agree for log-probs to be of one policy.
POLICY_FIELDS = ("model", "revision", "adapter", "tokenizer")


@dataclass(frozen=True)
class Policy:
    """Whose log-probs a file's ``policy_logprobs`` are, as its provenance says."""

    model: str | None
    revision: str | None
    adapter: str | None
    tokenizer: str

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Policy":
        """The policy of a valid record: the one that last scored it, else the one that wrote it."""
        provenance = row["provenance"]
        scored = provenance.get("policy")
        source = scored if isinstance(scored, dict) else provenance
        return cls(source.get("model"), source.get("revision"), source.get("adapter"), provenance["tokenizer"])

    def difference(self, other: "Policy", fields: tuple[str, ...] = POLICY_FIELDS) -> str | None:
        """'field: this value here, that value there' of the first field that differs, or None."""
        for name in fields:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"provenance.{name} is {theirs!r}, not {mine!r} as"
        return None


@dataclass(frozen=True)
class GapRow:
    """One row's log-probs, float64, nats. ``chosen`` and ``expert`` are under the measured policy."""

    line: int
    tier: str
    chosen: Floats  # log pi(y_t | plain prompt) of the chosen response [T]
    recorded: Floats  # the same under the policy that made the file (policy_logprobs) [T]
    behavior: Floats | None  # log mu(y_t | what the sampler saw) [T]; None where nobody knows it
    expert: Floats | None  # log pi of the expert's text [T']; None when it was never scored

    @property
    def is_log_ratio(self) -> Floats:
        """l_t = p_t - beta_t, with beta_t = 0 (so the weight is pi itself) where the behaviour is unknown."""
        return self.chosen if self.behavior is None else self.chosen - self.behavior


def read_gap_records(path: Path, one_policy: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream (line, record) of a rewritten file, every record checked, its log-probs as arrays where they parse so.

    Args:
        path: the file.
        one_policy: require one policy throughout; without it (all is rescored) one tokenizer.

    Raises:
        UserError: at the first row that is no record, has no log-probs, or is of another policy.
    """
    first: tuple[int, Policy] | None = None
    fields = POLICY_FIELDS if one_policy else ("tokenizer",)
    for line, row in read_rows(path):
        if not _parse_logprobs(row) and (error := record_error(row)):
            raise UserError(f"{path}:{line}: {_remedy(row, error)}")
        policy = Policy.of(row)
        if first is None:
            first = line, policy
        elif policy != first[1] and (difference := first[1].difference(policy, fields)):
            raise UserError(
                f"{path}:{line}: {difference} in line {first[0]}: log-probs of two policies cannot be pooled; "
                f"{_POLICY_REMEDY if one_policy else _TOKENIZER_REMEDY}"
            )
        yield line, row


_POLICY_REMEDY = "split the file, or rescore it under one policy with --model"
_TOKENIZER_REMEDY = "split the file by tokenizer"


def gap_row(path: Path, line: int, row: dict[str, Any]) -> GapRow:
    """The log-probs a checked record carries.

    Raises:
        UserError: when ``expert_logprobs`` is no list of log-probs.
    """
    chosen = np.asarray(row["policy_logprobs"], dtype=np.float64)
    behavior = row["behavior_logprobs"]
    return GapRow(
        line=line,
        tier=row["tier"],
        chosen=chosen,
        recorded=chosen,
        behavior=None if behavior is None else np.asarray(behavior, dtype=np.float64),
        expert=chosen if row["tier"] == "expert" else _expert(path, line, row),
    )


def _expert(path: Path, line: int, row: dict[str, Any]) -> Floats | None:
    values = row.get("expert_logprobs")
    if values is None:
        return None
    expert = _logprobs(values)
    if expert is None:
        raise UserError(
            f"{path}:{line}: field expert_logprobs is no list of log-probabilities; "
            "write it again with `mindgap-data score --expert`"
        )
    return expert


def _logprobs(values: Any) -> Floats | None:
    """``values`` as an array, or None when they are not finite log-probs, one or more."""
    if not isinstance(values, list) or not values:
        return None
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    # A NaN fails the comparison.
    return array if array.ndim == 1 and array.max() <= LOGPROB_SLACK and math.isfinite(array.min()) else None


def _parse_logprobs(row: dict[str, Any]) -> bool:
    """Turn the row's log-probs into arrays and say whether the fields used here are sound, by the record's rules.

    A row that is not is left as it is for `record_error`, which is slower and words what is wrong.
    """
    ids, behavior = row.get("response_token_ids"), row.get("behavior_logprobs", 0)
    provenance, messages = row.get("provenance"), row.get("messages")
    if not (
        isinstance(provenance, dict)
        and provenance.get("schema_version") == 1
        and isinstance(provenance.get("model"), str)
        and isinstance(provenance.get("tokenizer"), str)
        and isinstance(row.get("id"), str)
        and isinstance(row.get("attempts"), dict)
        and isinstance(messages, list)
        and all(isinstance(turn, dict) and isinstance(turn.get("content"), str) for turn in messages)
        and bool(messages)
        and messages[-1].get("role") == "assistant"
        and row.get("tier") in TIERS
        and isinstance(row.get("expert"), str)
        and isinstance(ids, list)
        and (behavior is not None or row["tier"] == "expert")
    ):
        return False
    policy = _logprobs(row.get("policy_logprobs"))
    known = None if behavior is None else _logprobs(behavior)
    if (
        policy is None
        or len(policy) != len(ids)
        or (behavior is not None and (known is None or len(known) != len(ids)))
    ):
        return False
    row["policy_logprobs"], row["behavior_logprobs"] = policy, known
    return True


def _remedy(row: dict[str, Any], error: str) -> str:
    if not row.get("policy_logprobs"):
        return (
            "the row has no policy_logprobs, so there is no gap to measure; "
            "make the file with `mindgap-data rewrite`, or add them with `mindgap-data score`"
        )
    if "schema_version" in error:
        return f"{error}; update mindgap, or rewrite the file"
    return f"{error}; `mindgap-data validate` lists every such row"
