"""A tokenizer of single characters and an engine that answers at once, for tests of what stands around them."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

from mindgap_data.engines import Completion, Draw, Recalled, Request, Result, Sampling, Score, Scores

END = 0


class Characters:
    """Ids are character codes; 0 ends a turn."""

    end_ids = (END,)
    vocabulary = 0x110000
    fingerprint = template = "characters"
    arguments: ClassVar[dict[str, Any]] = {}
    expert_thinking = note = None

    def prompt_ids(self, messages: Sequence[dict[str, Any]], tools: Any = None) -> tuple[int, ...]:
        return tuple(map(ord, "".join(f"{m['role']}: {m['content']}\n" for m in messages)))

    def response_ids(self, text: str) -> tuple[int, ...]:
        return (*map(ord, text), END)

    def demonstration_ids(self, text: str, thought: str | None = None) -> tuple[int, ...]:
        return self.response_ids(text)

    def call_ids(self, messages: Sequence[dict[str, Any]], turn: dict[str, Any], tools: Any) -> tuple[int, ...]:
        return self.response_ids(str(turn["tool_calls"]))

    def lacks_thought(self, text: str, thought: str | None) -> bool:
        return False

    def turn(self, ids: Sequence[int]) -> dict[str, str]:
        return {"role": "assistant", "content": self.response_text(ids)}

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def response_text(self, ids: Sequence[int]) -> str:
        return self.decode(ids[:-1] if ids and ids[-1] == END else ids)


class InstantEngine:
    """Answers a draw with what ``answer`` says of its prompt, and a score with -0.5 a token."""

    name, max_context, slots, capacity = "instant", 4096, 4, 8
    exact = False
    idle_steps = 0
    occupancy: float | None = None
    revision: str | None = None
    dtype: str | None = None

    def __init__(self, answer: Callable[[str], str] = lambda prompt: "42") -> None:
        self.tokenizer: Any = Characters()
        self.sampling = Sampling()
        self.drawn = 0
        self._answer = answer
        self._ready: list[tuple[Request, Result]] = []

    @property
    def in_flight(self) -> int:
        return len(self._ready)

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        return list(pending[: self.capacity])

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        for request in requests:
            if isinstance(request, Draw):
                self.drawn += 1
                ids = self.tokenizer.response_ids(self._answer(self.tokenizer.decode(request.prompt_ids)))
                self._ready.append((request, Completion(ids, (-0.25,) * len(ids), "stop")))
            elif isinstance(request, Score):
                self._ready.append((request, Scores((-0.5,) * len(request.response_ids))))

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        ready, self._ready = self._ready, []
        return ready

    def cancel(self, keys: Collection[str]) -> int:
        return 0

    def close(self) -> None: ...
