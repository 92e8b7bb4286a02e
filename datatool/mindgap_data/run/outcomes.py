"""What a request came to, as tasks see it and the journal keeps it, and the count of it all."""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mindgap_data.engines import Failure, Scores


@dataclass(frozen=True)
class Attempt:
    """A draw that has been checked. ``text`` ends before the end-of-turn token."""

    verdict: Literal["correct", "wrong", "no_answer", "checker_error", "truncated"]
    tokens: int  # how many were drawn
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]

    def without_body(self) -> "Attempt":
        """The verdict and the cost alone."""
        return replace(self, text="", token_ids=(), logprobs=())


@dataclass(frozen=True)
class Dropped:
    """A draw started ahead that its task did not need; journalled, never given to a task."""

    tokens: int | None  # its length where it had ended


Outcome = Attempt | Scores | Failure | Dropped


@dataclass
class Meter:
    """What has happened so far, for the progress line and the summary; earlier runs' share included."""

    draws: int = 0
    drawn_tokens: int = 0
    scored_tokens: int = 0
    recalled: int = 0  # requests answered from the journal
    recalled_draws: int = 0  # of those
    recalled_tokens: int = 0  # tokens of those, drawn or scored
    ahead_draws: int = 0  # started ahead in free slots and not needed; in none of the counts above
    ahead_tokens: int = 0  # of those, as far as the engine knows
    rows: int = 0  # finished, in any order
    reached: Counter[int] = field(default_factory=Counter)  # rows that have made an n-th draw, by n
    ended: Counter[int] = field(default_factory=Counter)  # rows that were finished by their n-th
    slots: int = 0  # of the engine
    busy: int = 0  # of them in use
    occupancy: float | None = None  # share of the slots in use until nothing waited for one, where the engine knows

    def count(self, outcome: Outcome) -> None:
        """Count one outcome."""
        if isinstance(outcome, Attempt):
            self.draws += 1
            self.drawn_tokens += outcome.tokens
        elif isinstance(outcome, Scores):
            self.scored_tokens += len(outcome.logprobs)

    @property
    def fresh_draws(self) -> int:
        """Draws made by this run, not recalled."""
        return self.draws - self.recalled_draws

    @property
    def fresh_tokens(self) -> int:
        """Tokens drawn and scored by this run, not recalled."""
        return self.drawn_tokens + self.scored_tokens - self.recalled_tokens


def encode_outcome(outcome: Outcome) -> Any:
    """An outcome as JSON, for the journal."""
    match outcome:
        case Attempt():
            return ["a", outcome.verdict, outcome.tokens, outcome.text, outcome.token_ids, outcome.logprobs]
        case Scores():
            return ["s", outcome.logprobs]
        case Failure():
            return ["f", outcome.reason]
        case Dropped():
            return ["d", outcome.tokens]


def decode_outcome(value: Any) -> Outcome:
    """The inverse of :func:`encode_outcome`."""
    match value:
        case ["a", verdict, tokens, text, ids, logprobs]:
            return Attempt(verdict, tokens, text, tuple(ids), tuple(logprobs))
        case ["s", logprobs]:
            return Scores(tuple(logprobs))
        case ["f", reason]:
            return Failure(reason)
        case ["d", tokens]:
            return Dropped(tokens)
    raise ValueError(f"not a journalled outcome: {value!r:.80}")
