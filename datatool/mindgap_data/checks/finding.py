"""What a rule reports: findings about a file or a training run, and about one row."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

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
