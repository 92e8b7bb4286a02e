"""Continuous batching: a fixed number of slots, a row leaves when it ends, a waiting one takes its slot at once."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch

from mindgap_data.engines import Completion, Draw, Recalled, Sampling
from mindgap_data.engines.kvcache import SlotCache
from mindgap_data.engines.prefixes import Prefixes, prefill
from mindgap_data.engines.sampler import Sampler

PREFIX_TOKENS = 512  # prompt tokens kept for later draws, a slot

Ended = tuple[Draw, Completion | Recalled]


@dataclass
class _Seat:
    """A draw in its slot."""

    draw: Draw
    recalled: Recalled | None  # what is known of it, where it only takes its place
    uniforms: Any  # float64, one a step
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    steps: int = 0

    @property
    def last(self) -> int:
        """The token to feed next."""
        return self.ids[-1] if self.ids else self.draw.prompt_ids[-1]


class Slots:
    """Draws that run side by side, and those that wait for a slot, in the order they were given.

    Which rows share a step, and where each stands, follows from the order of the requests and the lengths
    of the responses alone. A recalled draw takes its slot for as long as it did and costs nothing where no
    new draw stands beside it: so a rerun computes a lost draw in the very batch it was lost from.
    """

    @torch.inference_mode()
    def __init__(self, model: Any, sampling: Sampling, end_ids: Collection[int], count: int) -> None:
        """Run ``count`` draws of ``model`` side by side."""
        self.count = count
        self._steps = self._busy_steps = 0  # slots times steps; those of them in which the slot held a draw
        self.occupancy: float | None = None  # share of the two, until nothing waited for a slot any more
        self.queue: deque[Draw | Recalled] = deque()
        self._model, self._ends = model, frozenset(end_ids)
        self._sampler = Sampler(sampling)
        self._prefixes = Prefixes(model, PREFIX_TOKENS * count)
        self._like = prefill(model, [(0, 1)])[0]
        self._cache = SlotCache(self._like, count)
        self._seats: list[_Seat] = []
        self._seen: Any = None  # [slots, vocabulary], where the sampler wants it

    @property
    def idle_steps(self) -> int:
        """Slots left empty, times steps."""
        return self._steps - self._busy_steps

    @property
    def busy(self) -> int:
        """Slots that hold a draw."""
        return len(self._seats)

    @property
    def in_flight(self) -> int:
        """Draws in slots and waiting for one."""
        return len(self._seats) + len(self.queue)

    @torch.inference_mode()
    def step(self) -> list[Ended]:
        """One token for every slot; the draws that ended by it, whose slots are taken again at once."""
        self._refill()
        if not self._seats:
            return []
        self._busy_steps += self.busy
        self._steps += self.count
        if self.queue:
            self.occupancy = self._busy_steps / self._steps
        self._cache.before_step()
        if any(seat.recalled is None for seat in self._seats):
            self._decode()
        self._cache.cursor += 1
        for seat in self._seats:
            seat.steps += 1
        ended = [row for row, seat in enumerate(self._seats) if self._has_ended(seat)]
        finished = [self._result(self._seats[row]) for row in ended]
        self._leave(ended)
        return finished

    @torch.inference_mode()
    def cancel(self, keys: Collection[str]) -> int:
        """Drop these draws, in slots or waiting; returns the tokens they had."""
        self.queue = deque(waiting for waiting in self.queue if _draw(waiting).key not in keys)
        rows = [row for row, seat in enumerate(self._seats) if seat.draw.key in keys]
        tokens = sum(self._seats[row].steps for row in rows)
        self._leave(rows)
        return tokens

    @torch.inference_mode()
    def halve(self) -> None:
        """Go on with half the slots, prompts one at a time and none kept; what was in a slot is drawn anew.

        Whatever a step that ran out of memory has left behind goes with the old cache.
        """
        self.queue.extendleft(seat.recalled or seat.draw for seat in reversed(self._seats))
        self._seats.clear()
        self._prefixes.clear()
        self._seen = None
        self.count = max(1, self.count // 2)
        self._cache = SlotCache(self._like, self.count)

    def _refill(self) -> None:
        while self.queue and len(self._seats) < self.count:
            request = self.queue[0]
            draw, row = _draw(request), len(self._seats)
            recalled = request if isinstance(request, Recalled) else None
            self._cache.begin(row, len(draw.prompt_ids) - 1)
            if len(draw.prompt_ids) > 1:
                upcoming = (_draw(waiting).prompt_ids for waiting in islice(self.queue, 1, None))
                self._prefixes.expect(draw.prompt_ids, upcoming)
                if recalled is None:
                    self._cache.write(row, self._prefixes.get(draw.prompt_ids))
            uniforms = None if recalled else np.random.Generator(np.random.Philox(draw.seed)).random(draw.max_tokens)
            self._seats.append(_Seat(draw, recalled, uniforms))
            self.queue.popleft()

    def _decode(self) -> None:
        device = self._model.device
        cache = self._cache
        starts = torch.tensor(cache.starts)
        mask = torch.arange(cache.first, cache.cursor + 1) >= starts[:, None]
        logits = self._model(
            input_ids=torch.tensor([[seat.last] for seat in self._seats], device=device),
            position_ids=(cache.cursor - starts)[:, None].to(device),
            attention_mask=mask.to(device),
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        uniforms = [0.0 if seat.recalled else seat.uniforms[seat.steps] for seat in self._seats]
        seen = self._mark_prompts(logits) if self._sampler.wants_seen else None
        ids, logprobs = self._sampler.draw(logits, torch.tensor(uniforms, dtype=torch.float64, device=device), seen)
        if seen is not None:
            seen.scatter_(1, ids[:, None], True)
        for seat, token, logprob in zip(self._seats, ids.tolist(), logprobs.tolist(), strict=True):
            if seat.recalled is None:
                seat.ids.append(token)
                seat.logprobs.append(logprob)

    def _has_ended(self, seat: _Seat) -> bool:
        if seat.recalled is not None:
            return seat.steps == seat.recalled.tokens
        return seat.ids[-1] in self._ends or seat.steps == seat.draw.max_tokens

    def _result(self, seat: _Seat) -> Ended:
        if seat.recalled is not None:
            return seat.draw, seat.recalled
        whole = seat.ids[-1] in self._ends
        return seat.draw, Completion(tuple(seat.ids), tuple(seat.logprobs), "stop" if whole else "length")

    def _leave(self, rows: Sequence[int]) -> None:
        """Empty these slots; the last ones move into their places."""
        for row in reversed(rows):
            last = self._seats.pop()
            if row < len(self._seats):
                self._seats[row] = last
                if self._seen is not None:
                    self._seen[row] = self._seen[len(self._seats)]
            self._cache.drop(row)

    def _mark_prompts(self, logits: Any) -> Any:
        """Which tokens each row has seen, [rows, vocabulary] bool; a row that begins has seen its prompt."""
        if self._seen is None:
            self._seen = torch.zeros(self.count, logits.shape[-1], dtype=torch.bool, device=logits.device)
        for row, seat in enumerate(self._seats):
            if seat.steps == 0:
                self._seen[row] = False
                self._seen[row, torch.tensor(seat.draw.prompt_ids, device=logits.device)] = True
        return self._seen[: len(self._seats)]


def _draw(request: Draw | Recalled) -> Draw:
    return request.draw if isinstance(request, Recalled) else request
