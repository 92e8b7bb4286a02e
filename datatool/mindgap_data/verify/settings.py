"""Which verifier checks a run's draws, and within what limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mindgap_data.verify.load import load_verifier, verifier_kind

if TYPE_CHECKING:
    from mindgap_data.verify.pool import VerifierPool


@dataclass(frozen=True)
class VerifierSettings:
    """A verifier as the user names it."""

    name: str = "math"
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 5.0  # seconds a check may take
    workers: int | None = None  # processes; None: one for each processor

    @property
    def kind(self) -> str:
        """For provenance: "checked" or "judged"."""
        return verifier_kind(load_verifier(self.name, self.options))

    @property
    def needs_answer(self) -> bool:
        """Whether it compares with a reference answer."""
        return bool(getattr(load_verifier(self.name, self.options), "needs_answer", True))

    def pool(self) -> "VerifierPool":
        """The processes that run it."""
        from mindgap_data.verify.pool import VerifierPool

        return VerifierPool(self.name, self.options, timeout=self.timeout, workers=self.workers)
