"""Engines: what draws completions with ids and log-probs, and scores given ids. One small interface."""

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from mindgap_data.policy.chat import ChatTokenizer


@dataclass(frozen=True)
class Sampling:
    """Every sampling parameter; all are always sent, so no server or generation_config.json fills in its own."""

    temperature: float = 1.0  # 0: greedy, the likeliest token; log-probs are then those of temperature 1
    top_p: float = 1.0  # in (0, 1]
    top_k: int = 0  # 0: off
    min_p: float = 0.0  # 0: off
    repetition_penalty: float = 1.0  # 1: off
    max_tokens: int = 2048  # cap on the response; the context may lower it

    @property
    def is_model_distribution(self) -> bool:
        """Whether the sampling distribution is the model's own (T=1, untruncated, no penalty)."""
        return self == Sampling(max_tokens=self.max_tokens)

    def as_dict(self) -> dict[str, Any]:
        """As written to provenance."""
        return asdict(self)


@dataclass(frozen=True)
class Draw:
    """Draw one completion of ``prompt_ids``."""

    key: str  # unique in a run: "<id>/<stage>/<attempt>"
    prompt_ids: tuple[int, ...]
    seed: int  # of this draw alone, in [0, 2**31)
    max_tokens: int


@dataclass(frozen=True)
class Recalled:
    """A draw that an earlier run made: it only takes its place, so that those beside it are drawn as they were."""

    draw: Draw
    tokens: int  # that were drawn


@dataclass(frozen=True)
class Score:
    """Log-probs of ``response_ids`` after ``prompt_ids``, temperature 1, untruncated."""

    key: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]


@dataclass(frozen=True)
class Completion:
    """What a draw gave.

    ``token_ids`` are the exact ids sampled, end-of-turn token included when ``finish`` is "stop".
    ``logprobs``: one per id, nats, of the *processed* sampling distribution (after temperature,
    top_p, ...), float32 or better.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Literal["stop", "length"]


@dataclass(frozen=True)
class Scores:
    """What a score gave: one log-prob per response id, nats."""

    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class Failure:
    """A request the engine could not serve, for a reason of that request alone (too long, rejected)."""

    reason: str  # one line, for the failed-rows file


Request = Draw | Score
Result = Completion | Scores | Failure | Recalled


# An exact engine goes on without a verdict until the slots left empty since, times steps, reach so many steps of the
# busy ones; then its scheduler waits: the longer, the fewer slots are empty.
PATIENCE = 4


class EngineIdentity(Protocol):
    """What records say of an engine, and what prompts and lengths follow from."""

    @property
    def name(self) -> str:
        """Which kind of engine it is."""

    @property
    def tokenizer(self) -> ChatTokenizer:
        """The policy's, with its chat template."""

    @property
    def sampling(self) -> Sampling:
        """Of every draw."""

    @property
    def max_context(self) -> int:
        """Prompt + response, tokens."""

    @property
    def revision(self) -> str | None:
        """Of the weights."""

    @property
    def dtype(self) -> str | None:
        """Of the weights as they are run."""


class Engine(Protocol):
    """Draws and scores. A fault of one request is a Failure; a fault of the engine is a UserError.

    The scheduler keeps a list of pending requests and loops: ``pick`` (which to start now),
    ``submit`` them, ``collect`` whatever is finished.
    """

    name: str  # "transformers", "vllm", "openai"
    tokenizer: ChatTokenizer
    sampling: Sampling
    max_context: int  # prompt + response, tokens
    slots: int  # draws that run side by side
    capacity: int  # requests the scheduler should keep pending or in flight
    exact: bool  # a result follows from the order of submissions alone, bit by bit; such an engine takes Recalled
    idle_steps: int  # slots left empty, times steps, so far; of an exact engine
    occupancy: float | None  # share of the slots in use until nothing waited for one; None where that is not known
    revision: str | None  # of the weights, for provenance
    dtype: str | None  # for provenance

    @property
    def in_flight(self) -> int:
        """Requests submitted and not yet collected."""

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """Which of the pending requests (oldest first) to start now; pure, may be empty when full."""

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        """Start these requests."""

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """Work until something is finished; return all that is.

        Args:
            checks: verdicts that may bring more work: an engine with free slots does not make them wait. An
                exact engine returns when its PATIENCE is spent, any other one as soon as one is there.

        Raises:
            UserError: the engine is dead.
        """

    def cancel(self, keys: Collection[str]) -> int:
        """Give up these draws, of which no result is wanted any more; returns how many tokens they are known to have.

        A draw that is finished already may still be returned by :meth:`collect`.
        """

    def close(self) -> None:
        """Free the model or connections."""


@runtime_checkable
class ExchangesAdapters(Protocol):
    """What an engine that follows a policy in training can do besides."""

    def use_adapter(self, adapter: str) -> None:
        """Draw and score with another adapter of the same model from now on; nothing may be in flight.

        Raises:
            AdapterError: it cannot be loaded; the engine goes on with the one it has.
        """
