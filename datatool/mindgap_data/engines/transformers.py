"""The transformers engine: deterministic batches, left padding, the KV cache, log-probs of what was sampled."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mindgap_data.engines import Completion, Draw, Engine, Request, Result, Sampling, Score, Scores
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_model, weights_revision

SCORE_TOKENS = 8192  # padded tokens of one scoring batch


class TransformersEngine(Engine):
    """Runs whole batches in the calling process; a batch is a function of the requests alone.

    Each draw has its own stream of uniforms, seeded by the draw, and takes tokens by inverse CDF: what
    it draws does not depend on its neighbours in the batch, beyond floating-point rounding.
    """

    name = "transformers"

    def __init__(
        self, spec: ModelSpec, *, tokenizer: ChatTokenizer, sampling: Sampling, max_context: int | None, batch_size: int
    ) -> None:
        self.tokenizer = tokenizer
        self.sampling = sampling
        self.model = load_model(spec)
        self.batch_size = batch_size
        self.capacity = 4 * batch_size  # a pool to choose similar lengths from
        own = getattr(self.model.config, "max_position_embeddings", None) or 2**31
        self.max_context = min(max_context or own, own)
        self.revision = weights_revision(spec, self.model)
        self.dtype = str(next(self.model.parameters()).dtype).removeprefix("torch.")
        self._submitted: list[Request] = []

    @property
    def in_flight(self) -> int:
        """Requests of the batch submitted and not yet run."""
        return len(self._submitted)

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """One batch: of one kind, holding the oldest request of that kind and its nearest neighbours in length."""
        if self._submitted:
            return []
        scores = [request for request in pending if isinstance(request, Score)]
        draws = [request for request in pending if isinstance(request, Draw)]
        if scores and (len(scores) >= self.batch_size or not draws):
            return self._fit(_nearest(scores, self.batch_size))
        return _nearest(draws, self.batch_size)

    def submit(self, requests: Sequence[Request]) -> None:
        """Take one batch, as :meth:`pick` made it."""
        self._submitted = list(requests)

    def collect(self) -> list[tuple[Request, Result]]:
        """Run the batch and return all of it."""
        import torch

        batch, self._submitted = self._submitted, []
        draws = [request for request in batch if isinstance(request, Draw)]
        scores = [request for request in batch if isinstance(request, Score)]
        try:
            with torch.inference_mode():
                drawn = self._draw(draws) if draws else []
                scored = self._score(scores) if scores else []
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(
                f"the GPU ran out of memory at --batch-size {self.batch_size}; "
                "run the same command with half of it to continue"
            ) from error
        return [*zip(draws, drawn, strict=True), *zip(scores, scored, strict=True)]

    def close(self) -> None:
        """Free the model."""
        self.model = None

    def _fit(self, scores: list[Request]) -> list[Request]:
        """As many of these, shortest first, as the padded token budget holds; at least one."""
        fitting = scores[:1]
        for request in scores[1:]:
            if (len(fitting) + 1) * _length(request) > SCORE_TOKENS:
                break
            fitting.append(request)
        return fitting

    def _draw(self, draws: list[Draw]) -> list[Completion]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        device = self.model.device
        width = max(len(draw.prompt_ids) for draw in draws)
        pad = self.tokenizer.end_id
        prompts = torch.tensor([[pad] * (width - len(d.prompt_ids)) + list(d.prompt_ids) for d in draws], device=device)
        mask = torch.tensor([[0] * (width - len(d.prompt_ids)) + [1] * len(d.prompt_ids) for d in draws], device=device)
        steps = max(draw.max_tokens for draw in draws)
        greedy = self.sampling.temperature == 0
        sampler = GreedySampler() if greedy else SeededSampler([draw.seed for draw in draws], steps, device)
        self.model.generate(
            input_ids=prompts,
            attention_mask=mask,
            generation_config=GenerationConfig(
                do_sample=False,  # the sampler leaves one token possible
                max_new_tokens=steps,
                eos_token_id=list(self.tokenizer.end_ids),
                pad_token_id=pad,
                use_cache=True,
            ),
            logits_processor=LogitsProcessorList([*_warpers(self.sampling, mask), sampler]),
        )
        ids, logprobs = sampler.drawn()
        return [
            _completion(ids[row], logprobs[row], draw.max_tokens, self.tokenizer.end_ids)
            for row, draw in enumerate(draws)
        ]

    def _score(self, scores: list[Score]) -> list[Scores]:
        rows = [(score.prompt_ids, score.response_ids) for score in scores]
        return [Scores(tuple(row)) for row in response_logprobs(self.model, rows)]


class GreedySampler:
    """A transformers logits processor that takes each row's likeliest token and remembers its log-prob.

    Placed last, it sees the processed scores; the log-probs are of exactly that distribution.
    """

    def __init__(self) -> None:
        self._ids: list[Any] = []
        self._logprobs: list[Any] = []

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """``scores`` [rows, vocabulary] in; the same with every token but the drawn one at -inf out."""
        import torch

        logprobs = torch.log_softmax(scores.float(), dim=-1)
        drawn = self._choose(logprobs)
        self._ids.append(drawn[:, 0])
        self._logprobs.append(logprobs.gather(1, drawn)[:, 0])
        return torch.full_like(scores, float("-inf")).scatter_(1, drawn, 0.0)

    def drawn(self) -> tuple[list[list[int]], list[list[float]]]:
        """Ids and log-probs [rows][steps run], junk after a row's end included."""
        import torch

        return torch.stack(self._ids, 1).tolist(), torch.stack(self._logprobs, 1).tolist()

    def _choose(self, logprobs: Any) -> Any:
        """Log-probs [rows, vocabulary] in, the token of each row [rows, 1] out."""
        return logprobs.argmax(dim=-1, keepdim=True)


class SeededSampler(GreedySampler):
    """Draws each row's next token from the processed distribution instead, by a stream of uniforms of its own."""

    def __init__(self, seeds: Sequence[int], steps: int, device: Any) -> None:
        import torch

        super().__init__()
        uniforms = np.stack([np.random.Generator(np.random.Philox(seed)).random(steps) for seed in seeds], axis=1)
        self._uniforms = torch.from_numpy(uniforms).to(device)  # [steps, rows], float64

    def _choose(self, logprobs: Any) -> Any:
        import torch

        cumulative = torch.cumsum(logprobs.double().exp(), dim=-1)
        threshold = self._uniforms[len(self._ids)][:, None] * cumulative[:, -1:]
        # right=True: the first token whose cumulative probability exceeds the threshold, never one of probability 0.
        return torch.searchsorted(cumulative, threshold, right=True).clamp_(max=logprobs.shape[-1] - 1)


def _warpers(sampling: Sampling, prompt_mask: Any) -> list[Any]:
    """The processed distribution, in transformers' own order and by its own classes."""
    import transformers as hf

    warpers: list[Any] = []
    if sampling.repetition_penalty != 1.0:
        penalty = hf.RepetitionPenaltyLogitsProcessor(penalty=sampling.repetition_penalty)
        warpers.append(_WithoutPadding(penalty, prompt_mask))
    if sampling.temperature not in (0.0, 1.0):
        warpers.append(hf.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k > 0:
        warpers.append(hf.TopKLogitsWarper(top_k=sampling.top_k))
    if sampling.top_p < 1.0:
        warpers.append(hf.TopPLogitsWarper(top_p=sampling.top_p))
    if sampling.min_p > 0.0:
        warpers.append(hf.MinPLogitsWarper(min_p=sampling.min_p))
    return warpers


class _WithoutPadding:
    """Shows a penalty the row's last prompt token in place of padding, so that padding is not penalised."""

    def __init__(self, penalty: Any, prompt_mask: Any) -> None:
        self._penalty, self._padding = penalty, prompt_mask == 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        width = self._padding.shape[1]
        seen = input_ids.clone()
        seen[:, :width] = seen[:, :width].where(~self._padding, seen[:, width - 1 : width])
        return self._penalty(seen, scores)


def _completion(ids: list[int], logprobs: list[float], cap: int, end_ids: tuple[int, ...]) -> Completion:
    """Cut a row at its end-of-turn token or its own cap."""
    ends = set(end_ids)
    end = next((i for i, token in enumerate(ids[:cap]) if token in ends), None)
    if end is None:
        return Completion(tuple(ids[:cap]), tuple(logprobs[:cap]), "length")
    return Completion(tuple(ids[: end + 1]), tuple(logprobs[: end + 1]), "stop")


def _length(request: Request) -> int:
    return len(request.prompt_ids) + (len(request.response_ids) if isinstance(request, Score) else 0)


def _nearest(requests: Sequence[Request], count: int) -> list[Request]:
    """``count`` requests in order of length around the oldest, which is first in ``requests``."""
    if not requests:
        return []
    order = sorted(range(len(requests)), key=lambda i: (_length(requests[i]), i))
    start = max(0, min(order.index(0) - count // 2, len(order) - count))
    return [requests[i] for i in order[start : start + count]]
