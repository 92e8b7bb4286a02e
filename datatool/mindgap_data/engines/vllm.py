"""The vLLM engine: continuous batching in this process's own engine, log-probs of the processed distribution."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from itertools import count
from types import SimpleNamespace
from typing import Any

from mindgap_data.engines import Completion, Draw, Engine, Failure, Recalled, Request, Result, Sampling, Score, Scores
from mindgap_data.engines.vllm_setup import (
    dead_errors,
    engine_arguments,
    load_adapter,
    on_cpu,
    request_errors,
    start_engine,
)
from mindgap_data.errors import AdapterError, UserError, one_line
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, weights_revision


class VllmEngine(Engine):
    """Draws and scores in one vLLM engine, which batches whatever is in flight.

    Every draw has its own seed, but vLLM's batches depend on timing: a rerun agrees up to its batch variance.
    """

    name = "vllm"
    exact = False
    idle_steps = 0
    occupancy: float | None = None
    revision: str | None
    dtype: str | None

    def __init__(
        self,
        model: str,
        *,
        tokenizer: ChatTokenizer,
        sampling: Sampling,
        adapter: str | None,
        revision: str | None,
        max_context: int | None,
        dtype: str | None,
        seed: int,
        engine_args: Mapping[str, Any],
    ) -> None:
        """Load ``model``, and ``adapter`` on top of it, into vLLM.

        Args:
            model: hub name, folder or the built-in model's name.
            tokenizer: the policy's; vLLM loads none of its own.
            sampling: of every draw.
            adapter: folder or hub name of a LoRA adapter.
            revision: hub revision of the model.
            max_context: prompt + response, tokens; None takes the model's own.
            dtype: float32, bfloat16, float16, or None: the model's own on a GPU, float32 on a CPU.
            seed: the engine's seed; draws bring their own.
            engine_args: any further argument of vLLM's engine, by its Python name.

        Raises:
            UserError: vLLM is missing, refuses an argument, or cannot load the model or adapter.
        """
        self.tokenizer = tokenizer
        self.sampling = sampling
        self._requests: dict[str, Request] = {}
        self._failed: list[tuple[Request, Result]] = []
        self._alone: deque[tuple[str, Score]] = deque()  # scores that wait for the engine to be empty
        self._numbers = count()
        arguments = engine_arguments(model, revision, max_context, dtype, seed, adapter, engine_args)
        self._engine = start_engine(arguments, model)
        try:
            self._lora = None if adapter is None else load_adapter(self._engine, adapter, number=1)
        except AdapterError:
            self.close()
            raise
        config = self._engine.model_config
        # vLLM's CPU LoRA kernel (0.32) fails on prompt log-probs as soon as two requests share a batch.
        self._scores_alone = adapter is not None and on_cpu()
        # vLLM wants room for one generated token even where it only scores.
        longest = config.max_model_len - 1
        self.max_context = min(max_context or longest, longest)
        self.slots = int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        self.capacity = 2 * self.slots
        self.revision = weights_revision(ModelSpec(model=model), SimpleNamespace(config=config.hf_config))
        self.dtype = str(config.dtype).removeprefix("torch.")

    @property
    def in_flight(self) -> int:
        """Requests submitted and not yet collected."""
        return len(self._requests) + len(self._failed) + len(self._alone)

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """The oldest ones, until vLLM runs as many as it can and has as many again waiting."""
        room = max(0, self.capacity - self.in_flight)
        if not self._scores_alone:
            return list(pending[:room])
        scores = [request for request in pending if isinstance(request, Score)]
        draws = [request for request in pending if isinstance(request, Draw)]
        if self._alone or (scores and (not draws or len(scores) >= self.capacity // 4)):
            return [] if self.in_flight else list(scores[:room])
        return list(draws[:room])

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        """Hand the requests to vLLM; one it refuses comes back from :meth:`collect` as a Failure."""
        for request in requests:
            assert not isinstance(request, Recalled), "only an exact engine takes these"
            number = str(next(self._numbers))
            ids = request.prompt_ids + (request.response_ids if isinstance(request, Score) else ())
            if len(ids) + isinstance(request, Draw) > self.max_context:
                reason = f"{len(ids)} tokens do not fit the context of {self.max_context}"
                self._failed.append((request, Failure(reason)))
                continue
            if self._scores_alone and isinstance(request, Score):
                self._alone.append((number, request))
            else:
                self._start_request(number, request, ids)

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """Step vLLM until some requests are finished or a check is, and return the requests."""
        finished, self._failed = self._failed, []
        while not finished and (self._requests or self._alone):
            if not self._requests:
                number, score = self._alone.popleft()
                self._start_request(number, score, score.prompt_ids + score.response_ids)
                if not self._requests:
                    finished, self._failed = self._failed, []
                    continue
            try:
                outputs = self._engine.step()
            except dead_errors() as error:
                raise _dead(error) from error
            for output in outputs:
                if output.finished:
                    # vLLM may append a random suffix to the number it was given, never change what is before it.
                    request = self._requests.pop(output.request_id.partition("-")[0], None)
                    if request is not None:  # not aborted meanwhile
                        finished.append((request, _result(request, output)))
            if any(check.done() for check in checks):
                break
        return finished

    def cancel(self, keys: Collection[str]) -> int:
        """Abort them; vLLM does not say how far they were."""
        numbers = [number for number, request in self._requests.items() if request.key in keys]
        if numbers:
            self._engine.abort_request(numbers)
        for number in numbers:
            del self._requests[number]
        return 0

    def use_adapter(self, adapter: str) -> None:
        """Load the adapter beside the one in use, as one with another name: vLLM caches prompts by that name."""
        assert not self.in_flight
        before = self._lora
        assert before is not None, "an engine that starts without an adapter has no room for one"
        self._lora = load_adapter(self._engine, adapter, number=before.lora_int_id + 1)
        self._engine.remove_lora(before.lora_int_id)

    def _start_request(self, number: str, request: Request, ids: tuple[int, ...]) -> None:
        prompt = {"type": "token", "prompt_token_ids": list(ids)}
        try:
            self._engine.add_request(number, prompt, self._parameters(request), lora_request=self._lora)
        except request_errors() as error:
            self._failed.append((request, Failure(one_line(error))))
        except dead_errors() as error:
            raise _dead(error) from error
        else:
            self._requests[number] = request

    def traits(self) -> dict[str, Any]:
        """What of vLLM's ways moves log-probs in their last digits, as it was set or as vLLM chose."""
        config = self._engine.vllm_config
        return {
            "quantization": config.model_config.quantization,
            "prefix_cache": config.cache_config.enable_prefix_caching,
            "chunked_prefill": config.scheduler_config.enable_chunked_prefill,
        }

    def close(self) -> None:
        """Stop vLLM's processes and free its memory."""
        self._engine.engine_core.shutdown()

    def _parameters(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if isinstance(request, Score):
            # prompt_logprobs are always of the unprocessed model; 0 means the prompt's own tokens only.
            return SamplingParams(
                temperature=1.0,
                max_tokens=1,
                prompt_logprobs=0,
                flat_logprobs=True,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
        return SamplingParams(
            n=1,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            top_k=self.sampling.top_k,
            min_p=self.sampling.min_p,
            repetition_penalty=self.sampling.repetition_penalty,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            max_tokens=min(request.max_tokens, self.max_context - len(request.prompt_ids)),
            min_tokens=0,
            seed=request.seed,
            logprobs=0,
            flat_logprobs=True,
            # The turn ends where the chat template ends it, nowhere else.
            stop_token_ids=list(self.tokenizer.end_ids),
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _result(request: Request, output: Any) -> Result:
    """What a finished vLLM request output says."""
    choice = output.outputs[0]
    if choice.finish_reason not in ("stop", "length"):
        return Failure(f"vLLM ended the request with {choice.finish_reason!r}")
    if isinstance(request, Score):
        # Flat log-probs hold the given token of every position but the first, which has none.
        positions = output.prompt_logprobs
        tail = list(zip(positions.token_ids, positions.logprobs, strict=True))[-len(request.response_ids) :]
        if tuple(token for token, _ in tail) != request.response_ids:
            return Failure("vLLM returned the log-probs of other tokens than were asked for")
        return Scores(tuple(logprob for _, logprob in tail))
    flat = choice.logprobs
    ids = tuple(choice.token_ids)
    if tuple(flat.token_ids) != ids:
        return Failure("vLLM returned the log-probs of other tokens than it sampled")
    return Completion(ids, tuple(flat.logprobs), choice.finish_reason)


def _dead(error: Exception) -> UserError:
    return UserError(
        f"the vLLM engine died ({one_line(error)}); finished rows are kept, rerun the same command to continue"
    )
