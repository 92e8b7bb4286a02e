"""What an OpenAI-compatible server can do, found out by a few short requests before anything is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mindgap_data.engines import Sampling
from mindgap_data.engines.server.answers import Choice
from mindgap_data.engines.server.bodies import (
    Abilities,
    Scoring,
    forced_bodies,
    forced_logprobs,
    score_body,
    score_logprobs,
)
from mindgap_data.engines.server.client import RequestRefusedError, Server
from mindgap_data.engines.server.token_recovery import TokenRecovery
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer

_PROBE_TOKENS = 24
_PROBE_SEED = 0
# A position where the model is this sure tells nothing about truncation.
_UNSURE = -0.1
# Log-probs of one position in two batches differ by rounding; a processed one moves by far more.
_MOVED = 0.01
_AGREES = 0.1  # of one log-prob, drawn and then forced, on quantised weights
# Settings that change the distribution of any unsure position beyond doubt.
EXTREME: dict[str, Any] = {"temperature": 2.0, "top_p": 0.01, "top_k": 1, "min_p": 0.99, "repetition_penalty": 0.01}
_FREE_DRAWS = "or draw from the model itself: --temperature 1 --top-p 1, no --top-k, --min-p or --repetition-penalty"


class UnusableError(UserError):
    """The server answers, but not with what a true record needs."""


@dataclass(frozen=True)
class Meeting:
    """A first answer, and how it was asked for."""

    abilities: Abilities
    prompt: tuple[int, ...]
    answer: Choice
    ids: tuple[int, ...]  # drawn

    @property
    def unsure(self) -> tuple[int, ...]:
        """A text after which the model is as unsure of the next token as the answer has it."""
        tops = [value if value is not None else 0.0 for value in self.answer.top] or [0.0]
        return (*self.prompt, *self.ids[: tops.index(min(tops))])


def probe(
    server: Server,
    tokenizer: ChatTokenizer,
    recovery: TokenRecovery,
    sampling: Sampling,
    max_context: int | None,
    extra: Mapping[str, Any],
) -> Abilities:
    """Find out what the server takes and gives, and that its log-probs are those of ``sampling``.

    Raises:
        UserError: it gives no log-probs, no recoverable token ids, another tokenisation of the prompt, or the
            log-probs of another distribution than it samples from.
    """
    met = meet(server, tokenizer, recovery, extra)
    abilities = _following(server, met, sampling)
    scoring = scoring_way(server, met)
    return replace(abilities, scoring=scoring, max_context=_context(server, tokenizer, max_context))


def meet(server: Server, tokenizer: ChatTokenizer, recovery: TokenRecovery, extra: Mapping[str, Any]) -> Meeting:
    """Ask for a first completion, in the most exact way that the server takes.

    Raises:
        UnusableError: it gives no log-probs, no recoverable token ids, or another tokenisation of the prompt.
        UserError: it cannot be reached or fails.
    """
    prompt = tokenizer.prompt_ids([{"role": "user", "content": "Name a random word."}])
    abilities, answer = _first_accepted(server, tokenizer, extra, prompt)
    where = server.base_url
    if not answer.tokens or None in answer.logprobs:
        raise UnusableError(
            f"{where} returns no log-probs from /completions; use a server that does, such as vLLM's, "
            "or --engine transformers"
        )
    if answer.shape == "content":
        abilities = replace(abilities, is_llama=True)
        answer = server.ask(abilities.draw_body(Sampling(), prompt, _PROBE_TOKENS, _PROBE_SEED))
    if answer.prompt_tokens not in (None, len(prompt)):
        raise UnusableError(
            f"{where} counts {answer.prompt_tokens} tokens in a prompt of {len(prompt)}: it serves another tokenizer, "
            "or adds special tokens of its own; check --model against the served one"
        )
    ids = answer.token_ids or recovery.ids(answer.tokens, answer.text)
    if ids is None or len(ids) != len(answer.tokens):
        raise UnusableError(
            f"{where} gives no token ids, and they cannot be told from its token strings with the tokenizer of "
            f"{tokenizer.name!r}; check that it serves this model, or use a server that has return_token_ids, "
            "such as vLLM's"
        )
    if answer.token_ids is not None and not abilities.is_llama:
        # Known to honour stop_token_ids, so the turn can end where the chat template ends it and nowhere else.
        abilities = replace(abilities, further={"ignore_eos": True} | dict(abilities.further))
    return Meeting(abilities, prompt, answer, ids)


def _context(server: Server, tokenizer: ChatTokenizer, max_context: int | None) -> int:
    """Longest prompt + response: the user's word, cut to the server's, which needs one token to answer a score."""
    listed = served_context(server)
    known = [] if listed is None else [listed - 1]
    if max_context is not None:
        known.append(max_context)
    if not known:
        own = getattr(tokenizer.hf, "model_max_length", None)
        if not isinstance(own, int) or own > 2**31:
            raise UserError(f"{server.base_url} does not say how long a context it serves; pass --max-context N")
        known.append(own)
    return min(known)


def served_context(server: Server) -> int | None:
    """Longest prompt + response in tokens, where the server lists it; a server of one model may name it as it likes."""
    models = server.models()
    for model in [model for model in models if model.id == server.model] or models[:1] * (len(models) == 1):
        meta = getattr(model, "meta", None)  # llama.cpp
        length = meta.get("n_ctx") if isinstance(meta, dict) else getattr(model, "max_model_len", None)
        if isinstance(length, int):
            return length
    return None


def _variants(tokenizer: ChatTokenizer, extra: Mapping[str, Any]) -> Iterator[Abilities]:
    """Ways to ask, the most exact first."""
    exact = {
        "stop_token_ids": list(tokenizer.end_ids),
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "add_special_tokens": False,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    for takes_ids in (True, False):
        yield Abilities(takes_ids, True, exact | dict(extra), tokenizer.decode)
        yield Abilities(takes_ids, True, dict(extra), tokenizer.decode)
        yield Abilities(takes_ids, False, dict(extra), tokenizer.decode)


def _first_accepted(
    server: Server, tokenizer: ChatTokenizer, extra: Mapping[str, Any], prompt: Sequence[int]
) -> tuple[Abilities, Choice]:
    refusal = ""
    for abilities in _variants(tokenizer, extra):
        try:
            return abilities, server.ask(abilities.draw_body(Sampling(), prompt, _PROBE_TOKENS, _PROBE_SEED))
        except RequestRefusedError as error:
            refusal = str(error)
    raise UnusableError(
        f"{server.base_url} refuses a plain completion with log-probs: {refusal}; "
        "use a server that gives them, such as vLLM's, or --engine transformers"
    )


def _following(server: Server, met: Meeting, sampling: Sampling) -> Abilities:
    """How to ask so that the log-probs are those of what ``sampling`` draws from.

    Every setting away from the model's distribution is tried at an extreme, for one token: log-probs of the
    distribution sampled from must move.
    """
    changed = [name for name in EXTREME if getattr(sampling, name) != getattr(Sampling(), name)]
    if sampling.temperature == 0:  # greedy: log-probs are those of temperature 1, and truncation changes nothing
        changed = [name for name in changed if name == "repetition_penalty"]
    refusal = None
    for abilities in ways_to_ask(met.abilities, sampling):
        refused = (_refusal(server, replace(met, abilities=abilities), name) for name in changed)
        found = next((message for message in refused if message is not None), None)
        if found is None:
            return abilities
        refusal = refusal or found
    raise UserError(f"{server.base_url} {refusal}")


def ways_to_ask(abilities: Abilities, sampling: Sampling) -> list[Abilities]:
    """For log-probs as the server gives them by itself, then for those after the sampling, where it has a switch."""
    switch = abilities.is_llama and sampling.temperature > 0
    return [abilities, *([replace(abilities, post_sampling=True)] if switch else [])]


def _refusal(server: Server, met: Meeting, name: str) -> str | None:
    """Why ``name`` may not be set on this server, or None."""
    option = f"--{name.replace('_', '-')}"
    if name in ("top_k", "min_p", "repetition_penalty") and not met.abilities.takes_sampling:
        return f"does not take {name}; leave {option} out, or use --engine transformers"
    follows = logprobs_follow(server, met, name)
    if follows is None:
        return (
            f"does not show whether its log-probs follow {option}; use vLLM's server with "
            f"--logprobs-mode processed_logprobs, {_FREE_DRAWS}"
        )
    if not follows:
        return (
            f"gives log-probs that do not follow {option}, so they are not those of what it draws; start vLLM's "
            f"server with --logprobs-mode processed_logprobs, {_FREE_DRAWS}"
        )
    return None


def logprobs_follow(server: Server, met: Meeting, name: str) -> bool | None:
    """Whether log-probs move with a setting at its extreme; None where the model is too sure or nothing is given."""
    plain = _top(server, met.abilities, Sampling(), met.unsure)
    extreme = _top(server, met.abilities, replace(Sampling(), **{name: EXTREME[name]}), met.unsure)
    if plain is None or extreme is None or plain > _UNSURE:
        return None
    return abs(extreme - plain) >= _MOVED


def _top(server: Server, abilities: Abilities, sampling: Sampling, prompt: Sequence[int]) -> float | None:
    """Log-prob of the likeliest token after ``prompt``, as the server gives it under ``sampling``."""
    for seed in range(_PROBE_SEED, _PROBE_SEED + 4):  # llama.cpp gives nothing where it drew a part of a character
        try:
            answer = server.ask(abilities.draw_body(sampling, prompt, 1, seed))
        except RequestRefusedError:
            return None
        if answer.top:
            return answer.top[0]
    return None


def scoring_way(server: Server, met: Meeting) -> Scoring | None:
    """How the server gives log-probs of a given text; text of our own tokenisation only, so it must take ids."""
    if not met.abilities.takes_ids:
        return None
    if met.abilities.is_llama:
        (body,) = forced_bodies(met.prompt, met.ids[:1], met.abilities)
        scored = forced_logprobs([server.ask(body)], met.ids[:1])
        return "forced" if scored is not None and abs(scored[0] - (met.answer.logprobs[0] or 0)) < _AGREES else None
    ids = (*met.prompt, *met.ids)
    ways: tuple[Scoring, ...] = ("prompt_logprobs", "echo")
    for way in ways:
        able = replace(met.abilities, scoring=way)
        try:
            answer = server.ask(score_body(ids, able))
        except RequestRefusedError:
            continue
        if score_logprobs(answer, ids, able) is not None:
            return way
    return None
