"""The transformers engine: continuous batching in this process, log-probs of exactly what was sampled."""

import sys
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Any

from mindgap_data.engines import PATIENCE, Draw, Engine, Failure, Recalled, Request, Result, Sampling, Score, Scores
from mindgap_data.engines.attention import use_grouped_attention
from mindgap_data.engines.kvcache import refuse_other_caches
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.engines.packing import pack_linear_layers
from mindgap_data.engines.slots import Slots
from mindgap_data.errors import UserError
from mindgap_data.policy.adapters import exchange_adapter
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_model, weights_revision

SCORE_TOKENS = 8192  # padded tokens of one scoring batch


class TransformersEngine(Engine):
    """Runs in the calling process; what shares a step is a function of the requests and their order alone.

    Each draw has its own stream of uniforms, seeded by the draw, and takes tokens by inverse CDF: what
    it draws does not depend on its neighbours, beyond floating-point rounding.
    """

    name = "transformers"
    exact = True

    def __init__(
        self, spec: ModelSpec, *, tokenizer: ChatTokenizer, sampling: Sampling, max_context: int | None, batch_size: int
    ) -> None:
        """Load the policy.

        Raises:
            UserError: it cannot be had, or keeps something else than keys and values between its steps.
        """
        self.tokenizer = tokenizer
        self.sampling = sampling
        self.model = load_model(spec)
        self.slots = batch_size
        self.capacity = 4 * batch_size  # a pool of scores to choose similar lengths from
        own = getattr(self.model.config, "max_position_embeddings", None) or 2**31
        self.max_context = min(max_context or own, own)
        self.revision = weights_revision(spec, self.model)
        self.dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
        refuse_other_caches(spec.model, self.model)
        use_grouped_attention(self.model)
        pack_linear_layers(self.model, batch_size)
        self._drawing = Slots(self.model, sampling, tokenizer.end_ids, batch_size)
        self._scores: list[Score] = []
        self._failed: list[tuple[Request, Result]] = []

    @property
    def in_flight(self) -> int:
        """Requests submitted and not yet collected."""
        return len(self._scores) + len(self._failed) + self._drawing.in_flight

    @property
    def idle_steps(self) -> int:  # type: ignore[override]
        """Slots left empty, times steps."""
        return self._drawing.idle_steps

    @property
    def occupancy(self) -> float | None:  # type: ignore[override]
        """Share of the slots that held a draw until none waited for one; None where there were slots for all."""
        return self._drawing.occupancy

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """A batch of scores where one is full or nothing is drawn; otherwise draws for the slots and the queue."""
        if self._scores:
            return []
        scores = [request for request in pending if isinstance(request, Score)]
        draws = [request for request in pending if isinstance(request, Draw)]
        if scores and (len(scores) >= self.slots or not (draws or self._drawing.in_flight)):
            return self._fit(_nearest(scores, self.slots))
        # As many again wait as run, so that prompts are prefilled in groups.
        return list(draws[: max(0, 2 * self.slots - self.in_flight)])

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        """Take what :meth:`pick` chose."""
        for request in requests:
            if isinstance(request, Recalled | Draw):
                self._drawing.queue.append(request)
            elif (length := _length(request)) > self.max_context:
                reason = f"{length} tokens do not fit the context of {self.max_context}"
                self._failed.append((request, Failure(reason)))
            else:
                self._scores.append(request)

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """Score what is to be scored, else draw until a draw ends."""
        import torch

        if self._failed or self._scores:
            failed, self._failed = self._failed, []
            with torch.inference_mode():
                return [*failed, *self._score()]
        began = self.idle_steps
        while self._drawing.in_flight:
            if ended := self._step():
                return list(ended)
            if checks and self.idle_steps - began >= PATIENCE * self._drawing.busy:
                break
        return []

    def cancel(self, keys: Collection[str]) -> int:
        """Empty their slots."""
        return self._drawing.cancel(keys)

    def use_adapter(self, adapter: str) -> None:
        """Exchange the adapter; keys and values of prompts that the old one ran are forgotten."""
        assert not self.in_flight
        exchange_adapter(self.model, adapter)
        self._drawing = Slots(self.model, self.sampling, self.tokenizer.end_ids, self.slots)

    def close(self) -> None:
        """Free the model."""
        self.model = None
        del self._drawing

    def _step(self) -> Sequence[tuple[Request, Result]]:
        while True:
            try:
                return self._drawing.step()
            except (MemoryError, RuntimeError) as error:
                _refuse_unless_divisible(error, self.slots)
            self._shrink()

    def _shrink(self) -> None:
        import torch

        self._drawing.halve()
        torch.cuda.empty_cache()
        print(
            f"out of memory with {self.slots} rows at a time; going on with {self._drawing.count}",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        self.slots = self._drawing.count
        self.capacity = 4 * self.slots

    def _fit(self, scores: list[Request]) -> list[Request]:
        """As many of these, shortest first, as the padded token budget holds; at least one."""
        fitting = scores[:1]
        for request in scores[1:]:
            if (len(fitting) + 1) * _length(request) > SCORE_TOKENS:
                break
            fitting.append(request)
        return fitting

    def _score(self) -> list[tuple[Request, Result]]:
        scores, self._scores = self._scores, []
        if not scores:
            return []
        rows = [(score.prompt_ids, score.response_ids) for score in scores]
        return [(score, Scores(tuple(row))) for score, row in zip(scores, self._logprobs(rows), strict=True)]

    def _logprobs(self, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """Of all rows at once, or of each half where memory is short."""
        try:
            return response_logprobs(self.model, rows)
        except (MemoryError, RuntimeError) as error:
            _refuse_unless_divisible(error, len(rows))
        half = len(rows) // 2
        return self._logprobs(rows[:half]) + self._logprobs(rows[half:])


def _refuse_unless_divisible(error: Exception, rows: int) -> None:
    """Swallow running out of memory with several rows; raise UserError for one, and anything else as it is."""
    import torch

    text = str(error)
    # torch has a class for this on accelerators only; these are what its CPU allocator says.
    short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in text
    if not short:
        raise error
    if rows == 1:
        raise UserError(
            "out of memory with a single row; what is finished is kept: free some memory or lower --max-tokens, "
            "then run the same command again to continue"
        ) from error


def _length(request: Request) -> int:
    return len(request.prompt_ids) + (len(request.response_ids) if isinstance(request, Score) else 0)


def _nearest(requests: Sequence[Request], count: int) -> list[Request]:
    """``count`` requests in order of length around the oldest, which is first in ``requests``."""
    if not requests:
        return []
    order = sorted(range(len(requests)), key=lambda i: (_length(requests[i]), i))
    start = max(0, min(order.index(0) - count // 2, len(order) - count))
    return [requests[i] for i in order[start : start + count]]
