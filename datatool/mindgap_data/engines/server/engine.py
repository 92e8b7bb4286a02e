"""The openai engine: draws and scores on any OpenAI-compatible server that returns log-probs."""

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from mindgap_data.engines import Completion, Draw, Engine, Failure, Recalled, Request, Result, Sampling, Score, Scores
from mindgap_data.engines.server.answers import Choice
from mindgap_data.engines.server.bodies import Abilities, forced_bodies, forced_logprobs, score_body, score_logprobs
from mindgap_data.engines.server.client import RequestRefusedError, Server
from mindgap_data.engines.server.probe import probe
from mindgap_data.engines.server.token_recovery import TokenRecovery
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer

# What the engine itself decides for every request, and what would change the distribution behind the record's back.
_OURS = (
    "prompt", "suffix", "max_tokens", "min_tokens", "n", "best_of", "use_beam_search", "stream", "echo", "logprobs",
    "prompt_logprobs", "seed", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty",
    "frequency_penalty", "stop", "stop_token_ids", "ignore_eos", "logit_bias", "allowed_token_ids", "bad_words",
    "structured_outputs", "response_format", "thinking_token_budget", "repetition_detection",
    "samplers", "repeat_penalty", "repeat_last_n", "post_sampling_probs", "n_probs", "grammar", "json_schema",
    "typical_p", "top_n_sigma", "xtc_probability", "dry_multiplier", "mirostat", "dynatemp_range", "n_predict",
)  # fmt: skip


class OpenAIEngine(Engine):
    """Sends rendered prompts to ``/completions``; what the server can do is found out once, when it opens."""

    name = "openai"
    exact = False
    idle_steps = 0
    occupancy: float | None = None
    revision: str | None = None  # a server does not say
    dtype: str | None = None

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        tokenizer: ChatTokenizer,
        sampling: Sampling,
        max_context: int | None,
        api_key: str | None,
        concurrency: int | None = None,
        timeout: float = 600,
        retries: int = 5,
        engine_args: Mapping[str, Any],
    ) -> None:
        """Connect and probe.

        Args:
            base_url: up to and with ``/v1``.
            model: the name it is served under, unless ``engine_args`` has ``model``.
            tokenizer: the policy's own.
            sampling: of every draw; all of it is sent with each.
            max_context: prompt + response, tokens; None takes the server's word.
            api_key: sent to the server.
            concurrency: most requests in flight; None: as many as make the server faster.
            timeout: seconds a request may take.
            retries: of a request the server failed (HTTP 5xx, 429, broken connection), with growing pauses.
            engine_args: ``model``, and further fields for the body of every request.

        Raises:
            UserError: the server cannot be reached, or what it returns would not make a true record.
        """
        self.tokenizer = tokenizer
        self.sampling = sampling
        extra = dict(engine_args)
        served = str(extra.pop("model", model))
        for field in extra:
            if field in _OURS:
                raise UserError(f"--engine-arg {field}: this one is mindgap's own to set; leave it out")
        self._server = Server(
            base_url, served, api_key=api_key, concurrency=concurrency, timeout=timeout, retries=retries
        )
        self._recovery = TokenRecovery(tokenizer)
        self._special = {*tokenizer.hf.all_special_ids, *tokenizer.hf.get_added_vocab().values()}
        try:
            self._abilities: Abilities = probe(self._server, tokenizer, self._recovery, sampling, max_context, extra)
        except BaseException:
            self._server.close()
            raise
        self.max_context = self._abilities.max_context
        self._follow_window()
        self._flying: dict[Future[Any], Request] = {}
        self._failed: list[tuple[Request, Result]] = []

    @property
    def can_score(self) -> bool:
        """Whether the server gives log-probs of a given text."""
        return self._abilities.scoring is not None

    @property
    def in_flight(self) -> int:
        """Requests submitted and not yet collected."""
        return len(self._flying) + len(self._failed)

    def pick(self, pending: Sequence[Request]) -> list[Request]:
        """The oldest ones, until all slots are taken."""
        return list(pending[: max(0, self.slots - self.in_flight)])

    def submit(self, requests: Sequence[Request | Recalled]) -> None:
        """Send the requests.

        Raises:
            UserError: a score is asked for and the server gives none.
        """
        for request in requests:
            assert not isinstance(request, Recalled), "only an exact engine takes these"
            length = len(request.prompt_ids) + (len(request.response_ids) if isinstance(request, Score) else 1)
            if length > self.max_context:
                tokens = length if isinstance(request, Score) else length - 1
                reason = f"{tokens} tokens do not fit the context of {self.max_context}"
                self._failed.append((request, Failure(reason)))
            else:
                self._flying[self._send(request)] = request

    def collect(self, checks: Collection[Future[Any]] = ()) -> list[tuple[Request, Result]]:
        """Wait until some answers are in or a check is done, and return the answers."""
        finished, self._failed = self._failed, []
        if finished or not self._flying:
            return finished
        done, _ = wait([*self._flying, *checks], return_when=FIRST_COMPLETED)
        for future in done & self._flying.keys():
            request = self._flying.pop(future)
            finished.append((request, self._result(request, future)))
        self._follow_window()
        return finished

    def cancel(self, keys: Collection[str]) -> int:
        """Close their connections, at which servers stop drawing; they do not say how far they were."""
        for future in [future for future, request in self._flying.items() if request.key in keys]:
            del self._flying[future]
            future.cancel()
        return 0

    def close(self) -> None:
        """Drop the connections."""
        self._server.close()

    def _follow_window(self) -> None:
        self.slots = self._server.window.size
        self.capacity = 2 * self.slots

    def _send(self, request: Request) -> Future[Any]:
        if not isinstance(request, Score):
            return self._server.start(self._draw_body(request))
        if self._abilities.scoring == "forced":
            return self._server.start_each(forced_bodies(request.prompt_ids, request.response_ids, self._abilities))
        return self._server.start(score_body(request.prompt_ids + request.response_ids, self._abilities))

    def _draw_body(self, draw: Draw) -> dict[str, Any]:
        cap = min(draw.max_tokens, self.max_context - len(draw.prompt_ids))
        return self._abilities.draw_body(self.sampling, draw.prompt_ids, cap, draw.seed)

    def _result(self, request: Request, future: Future[Any]) -> Result:
        try:
            choice = future.result()
        except RequestRefusedError as refusal:
            return Failure(f"the server refuses it: {refusal}")
        if isinstance(request, Score):
            if self._abilities.scoring == "forced":
                logprobs = forced_logprobs(choice, request.response_ids)
            else:
                logprobs = score_logprobs(choice, request.prompt_ids + request.response_ids, self._abilities)
            if logprobs is None:
                return Failure("the server returned no log-probs for this text")
            return Scores(tuple(logprobs[-len(request.response_ids) :]))
        return self._completion(request, choice)

    def _completion(self, draw: Draw, choice: Choice) -> Result:
        if choice.finish not in ("stop", "length"):
            return Failure(f"the server ended the response with {choice.finish!r}")
        if choice.prompt_tokens not in (None, len(draw.prompt_ids)):
            return Failure(
                f"the server counted {choice.prompt_tokens} prompt tokens where the chat template makes "
                f"{len(draw.prompt_ids)}"
            )
        if choice.left_out:
            return Failure(
                f"the server gives no log-probs of {choice.left_out} tokens that end inside a character, as llama.cpp "
                "does; use vLLM's server, or --engine transformers"
            )
        if not choice.tokens:
            return Failure("the server gives no log-probs of this response")
        ids = choice.token_ids or self._recovery.ids(choice.tokens, choice.text)
        if ids is None or len(ids) != len(choice.logprobs):
            return Failure(
                "the server gives no token ids, and its token strings fit none or several; use a server that has "
                "return_token_ids, such as vLLM's"
            )
        values = [math.nan if value is None else value for value in choice.logprobs]
        if not all(map(math.isfinite, values)):
            return Failure("the server returned a log-prob that is no number")
        ends = set(self.tokenizer.end_ids)
        end = next((position for position, token in enumerate(ids) if token in ends), None)
        if end is not None:
            # What a server draws past the end of the turn does not change the law of what stands before it.
            return Completion(ids[: end + 1], tuple(values[: end + 1]), "stop")
        if choice.finish == "stop" and ids[-1] in self._special:
            # llama.cpp ends at every token that the model file says ends something; this one ends no turn here.
            return Completion(ids, tuple(values), "length")
        if choice.finish == "stop":
            raise UserError(
                f"{self._server.base_url} leaves the end-of-turn token "
                f"({self.tokenizer.decode([self.tokenizer.end_id])}) out of its log-probs; "
                "use vLLM's server, or --engine transformers"
            )
        return Completion(ids, tuple(values), "length")
