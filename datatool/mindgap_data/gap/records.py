"""Records as the gap sees them: log-probs of both sides as arrays, and one policy throughout."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mindgap_data.errors import UserError
from mindgap_data.record import Record
from mindgap_data.rows.records import read_records
from mindgap_data.statistics import Floats

# What must agree for log-probs to be of one policy.
POLICY_FIELDS = ("model", "revision", "adapter", "tokenizer")
_POLICY_REMEDY = "split the file, or rescore it under one policy with --model"
_TOKENIZER_REMEDY = "split the file by tokenizer"


@dataclass(frozen=True)
class ScoringPolicy:
    """Whose log-probs a file's ``policy_logprobs`` are, as its provenance says."""

    model: str
    revision: str | None
    adapter: str | None
    tokenizer: str

    @classmethod
    def of(cls, record: Record) -> "ScoringPolicy":
        """The policy that last scored a record, else the one that wrote it."""
        provenance = record.provenance
        source = provenance.policy or provenance
        return cls(source.model, source.revision, source.adapter, provenance.tokenizer)

    def difference(self, other: "ScoringPolicy", fields: tuple[str, ...] = POLICY_FIELDS) -> str | None:
        """'field is that value there, not this one as' for the first field that differs, or None."""
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
    unchecked: bool = False  # a self or guided response that nobody checked

    @classmethod
    def of(cls, line: int, record: Record) -> "GapRow":
        """With the log-probs a record carries."""
        chosen = np.asarray(record.policy_logprobs, dtype=np.float64)
        return cls(
            line=line,
            tier=record.tier,
            chosen=chosen,
            recorded=chosen,
            behavior=_array(record.behavior_logprobs),
            expert=chosen if record.tier == "expert" else _array(record.expert_logprobs),
            unchecked=record.tier != "expert" and record.provenance.verifier_kind == "unchecked",
        )

    @property
    def is_log_ratio(self) -> Floats:
        """l_t = p_t - beta_t, with beta_t = 0 (so the weight is pi itself) where the behaviour is unknown."""
        return self.chosen if self.behavior is None else self.chosen - self.behavior


def read_gap_records(path: Path, one_policy: bool = True) -> Iterator[tuple[int, Record]]:
    """Stream (line, record) of a rewritten file whose log-probs are of one policy.

    Args:
        path: the file.
        one_policy: require one policy throughout; without it (all is rescored) one tokenizer.

    Raises:
        UserError: at the first row that is not a valid record, or is of another policy.
    """
    first: tuple[int, ScoringPolicy] | None = None
    fields = POLICY_FIELDS if one_policy else ("tokenizer",)
    for line, record in read_records(path):
        policy = ScoringPolicy.of(record)
        if first is None:
            first = line, policy
        elif policy != first[1] and (difference := first[1].difference(policy, fields)):
            raise UserError(
                f"{path}:{line}: {difference} in line {first[0]}: log-probs of two policies cannot be pooled; "
                f"{_POLICY_REMEDY if one_policy else _TOKENIZER_REMEDY}"
            )
        yield line, record


def _array(values: list[float] | None) -> Floats | None:
    return None if values is None else np.asarray(values, dtype=np.float64)
