"""What a server is sent for a draw and for a score, and the log-probs of a score from its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mindgap_data.engines import Sampling
from mindgap_data.engines.server.answers import Choice
from mindgap_data.errors import UserError

Scoring = Literal["prompt_logprobs", "echo", "forced"]  # forced: llama.cpp, token by token

_SEED = 0  # of a score, which draws nothing that is kept
# llama.cpp's own sampling chain, in the order of transformers; it leaves out the samplers that a server may have been
# started with (DRY, XTC, typical).
_LLAMA_CHAIN = ["penalties", "temperature", "top_k", "top_p", "min_p"]
_LLAMA_PENALISED = 65536  # last tokens that a repetition penalty looks at
_FORCE = 1000.0  # added to a token's logit


@dataclass(frozen=True)
class Abilities:
    """How to talk to one server."""

    takes_ids: bool  # the prompt as token ids, else as text
    takes_sampling: bool  # top_k, min_p, repetition_penalty
    further: Mapping[str, Any]  # more fields of every body
    decode: Any  # ids -> text, for servers that take text
    is_llama: bool = False  # llama.cpp: it has names of its own for some settings
    post_sampling: bool = False  # ask llama.cpp for the probabilities after its sampling chain
    scoring: Scoring | None = None
    max_context: int = 0

    def draw_body(self, sampling: Sampling, prompt_ids: Sequence[int], max_tokens: int, seed: int) -> dict[str, Any]:
        """Body of a request for one completion, with every sampling parameter."""
        body: dict[str, Any] = {
            "prompt": list(prompt_ids) if self.takes_ids else self.decode(prompt_ids),
            "max_tokens": max_tokens,
            "n": 1,
            "seed": seed,
            "logprobs": 1,  # some servers take 0 for "none"
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }
        if self.takes_sampling:
            body |= {
                "top_k": sampling.top_k or -1,  # off: vLLM and SGLang both read -1 so
                "min_p": sampling.min_p,
                "repetition_penalty": sampling.repetition_penalty,
            }
        if self.is_llama:
            penalised = _LLAMA_PENALISED if sampling.repetition_penalty != 1 else 0
            body |= {"samplers": _LLAMA_CHAIN, "repeat_penalty": sampling.repetition_penalty}
            body |= {"repeat_last_n": penalised, "mirostat": 0, "dynatemp_range": 0.0}
            body["post_sampling_probs"] = self.post_sampling
        return {**body, **self.further}


def score_body(ids: Sequence[int], abilities: Abilities) -> dict[str, Any]:
    """Body of a request for the log-probs of ``ids``.

    Raises:
        UserError: the server gives none.
    """
    if abilities.scoring is None:
        raise UserError(
            "this server gives no log-probs of a given text (neither prompt_logprobs nor echo); use vLLM's or "
            "llama.cpp's server, or --engine transformers"
        )
    asked: dict[str, Any] = {"prompt_logprobs": 0} if abilities.scoring == "prompt_logprobs" else {"echo": True}
    return abilities.draw_body(Sampling(), ids, 1, _SEED) | asked


def forced_bodies(prompt: Sequence[int], response: Sequence[int], abilities: Abilities) -> list[dict[str, Any]]:
    """Bodies of one request a token of ``response``, each of which draws that token and nothing else.

    llama.cpp's raw log-probs know nothing of the bias that forces the token.
    """
    raw = replace(abilities, post_sampling=False)
    return [
        raw.draw_body(Sampling(), [*prompt, *response[:place]], 1, _SEED) | {"logit_bias": [[token, _FORCE]]}
        for place, token in enumerate(response)
    ]


def forced_logprobs(choices: Sequence[Choice], response: Sequence[int]) -> list[float] | None:
    """Log-probs of ``response``, one each, or None where a token was not drawn or not given."""
    if any(choice.token_ids != (token,) for choice, token in zip(choices, response, strict=True)):
        return None
    return [float(choice.logprobs[0]) for choice in choices]  # type: ignore[arg-type]


def score_logprobs(choice: Choice, ids: Sequence[int], abilities: Abilities) -> list[float] | None:
    """Log-probs of ``ids``, one each (0 for the first, which has none), or None when they are not in the answer."""
    try:
        if abilities.scoring == "prompt_logprobs":
            given = choice.prompt_logprobs or []
            if len(given) != len(ids):
                return None
            return [0.0, *(float(given[i][str(ids[i])]["logprob"]) for i in range(1, len(ids)))]
        if len(choice.logprobs) not in (len(ids), len(ids) + 1):
            return None
        if choice.token_ids and len(choice.token_ids) >= len(ids) and choice.token_ids[: len(ids)] != tuple(ids):
            return None
        return [0.0, *(float(value) for value in choice.logprobs[1 : len(ids)])]  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        return None
