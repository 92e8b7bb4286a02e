"""What a rule reports: findings about a file or a training run, and about one row."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mindgap_data.checks.kinds import KINDS
from mindgap_data.record import Record

Severity = Literal["bad", "warn", "good"]


@dataclass(frozen=True)
class Finding:
    """One thing a reader should know about a file or a training run."""

    rule: str  # the rule's name, with the tier or stage it speaks of: "ess_floor.guided"
    severity: Severity
    title: str
    detail: str  # the figure it rests on, beside the threshold
    advice: str  # what to try; empty for good news

    @property
    def in_words(self) -> str:
        """The whole finding in one line, for a log or a terminal."""
        return f"{self.title}: {self.detail}. {self.advice}".rstrip()


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings by severity; equal ones stay in their order."""
    return sorted(findings, key=lambda finding: ("bad", "warn", "good").index(finding.severity))


@dataclass(frozen=True)
class RowFinding:
    """One thing that looks wrong with a row."""

    kind: str  # one of KINDS
    detail: str  # one line, may quote the row


@dataclass(frozen=True)
class FlaggedRow:
    """A row with findings."""

    line: int
    id: str
    tier: str
    findings: tuple[RowFinding, ...]  # the heaviest first
    excerpt: str  # of the response

    @classmethod
    def of(cls, line: int, record: Record, findings: Iterable[RowFinding]) -> "FlaggedRow":
        """A record with its findings."""
        ordered = tuple(sorted(findings, key=lambda finding: -KINDS[finding.kind].weight))
        return cls(line, record.id, record.tier, ordered, record.messages[-1].content[:_EXCERPT])

    @property
    def score(self) -> int:
        """Weight of the findings, for the order of reading."""
        return sum(KINDS[kind].weight for kind in {finding.kind for finding in self.findings})

    def as_dict(self) -> dict[str, Any]:
        """As a line of the output file."""
        return {**asdict(self), "score": self.score}


def reading_order(rows: Sequence[FlaggedRow]) -> list[FlaggedRow]:
    """The rows to read first, first; equal weights in the order of the file."""
    return sorted(rows, key=lambda row: (-row.score, row.line))


_EXCERPT = 200
