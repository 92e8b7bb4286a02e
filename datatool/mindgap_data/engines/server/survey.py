"""Everything a server can and cannot give, found out line by line, for `mindgap-data probe`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mindgap_data.engines import Sampling
from mindgap_data.engines.server.answers import Choice
from mindgap_data.engines.server.bodies import Abilities
from mindgap_data.engines.server.client import RequestRefusedError, Server
from mindgap_data.engines.server.probe import (
    EXTREME,
    Meeting,
    UnusableError,
    logprobs_follow,
    meet,
    scoring_way,
    served_context,
    ways_to_ask,
)
from mindgap_data.engines.server.token_recovery import TokenRecovery
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer

DRAWS = 8  # of a position, to tell a setting that is honoured from one that is not
DRAW_TOKENS = 32
LEVELS = (1, 2, 4, 8, 16, 32, 64)  # requests in flight
WORTH = 1.1  # rise of tokens per second for which the next level is tried
# A setting at which every draw of an unsure position is the same, if the server honours it.
_SURE: dict[str, Any] = {**EXTREME, "temperature": 0.01}


@dataclass(frozen=True)
class Line:
    """One thing about the server."""

    what: str
    answer: str
    means: str = ""  # for a run


def survey(server: Server, tokenizer: ChatTokenizer) -> Iterator[Line]:
    """The lines, as they are found out; a server that no run can use has one.

    Raises:
        UserError: it cannot be reached or fails.
    """
    recovery = TokenRecovery(tokenizer)
    try:
        met = meet(server, tokenizer, recovery, {})
    except UnusableError as error:
        yield Line("draws with log-probs", "no", error.message.removeprefix(f"{server.base_url} "))
        return
    yield Line("draws with log-probs", "yes", "from /completions")
    yield _prompt(met.abilities)
    yield _token_ids(met)
    draws = [_draw(server, met, seed) for seed in range(DRAWS)]
    yield _end_of_turn(draws, tokenizer, recovery)
    yield _whole(draws)
    yield _scores(scoring_way(server, met))
    yield from _distribution(server, met)
    yield _honoured(server, met)
    yield _seed(server, met, draws)
    length = served_context(server)
    yield Line("context", f"{length} tokens" if length else "it does not say", "" if length else "pass --max-context N")
    yield _concurrency(server, met)


def _prompt(abilities: Abilities) -> Line:
    if abilities.takes_ids:
        return Line("prompt", "as token ids")
    return Line("prompt", "as text only", "it cannot score")


def _token_ids(met: Meeting) -> Line:
    if met.answer.token_ids is not None:
        return Line("token ids", "exact", "as the server gives them")
    return Line("token ids", "from the strings", "a response that several sequences of ids fit fails")


def _draw(server: Server, met: Meeting, seed: int) -> Choice:
    return server.ask(met.abilities.draw_body(Sampling(), met.prompt, DRAW_TOKENS, seed))


def _end_of_turn(draws: Sequence[Choice], tokenizer: ChatTokenizer, recovery: TokenRecovery) -> Line:
    what, ended = "end of turn", [draw for draw in draws if draw.finish == "stop" and not draw.left_out]
    last = [(draw.token_ids or recovery.ids(draw.tokens, draw.text) or (None,))[-1] for draw in ended]
    if any(token in tokenizer.end_ids for token in last):
        return Line(what, "with its log-prob")
    if ended:
        return Line(what, "left out", "unusable: a record needs its log-prob")
    return Line(what, "not seen", f"none of {len(draws)} draws of {DRAW_TOKENS} tokens ended")


def _whole(draws: Sequence[Choice]) -> Line:
    broken = sum(draw.left_out > 0 for draw in draws)
    if not any(draw.shape == "content" for draw in draws):
        return Line("characters of several tokens", "all their tokens")
    return Line(
        "characters of several tokens", "one token of each", f"draws with one fail ({broken} of {len(draws)} here)"
    )


def _scores(way: str | None) -> Line:
    if way is None:
        return Line("prompt log-probs", "no", "rewriting needs them")
    means = "one request for each token" if way == "forced" else f"by {way}"
    return Line("prompt log-probs", "yes", means)


def _distribution(server: Server, met: Meeting) -> Iterator[Line]:
    """Of which distribution the log-probs are: by themselves, and after the sampling where there is a switch."""
    names = ("by themselves", "with post_sampling_probs")
    for name, abilities in zip(names, ways_to_ask(met.abilities, Sampling()), strict=False):
        found = {setting: logprobs_follow(server, replace(met, abilities=abilities), setting) for setting in EXTREME}
        follow = [setting for setting, moved in found.items() if moved]
        if len(follow) == len(EXTREME):
            kind, means = "processed", "any sampling can be recorded"
        elif not follow:
            kind, means = "raw", "of the model's own distribution: draw at --temperature 1 --top-p 1"
        else:
            kind, means = "in part", f"they follow {', '.join(follow)} only"
        yield Line(f"log-probs {name}", kind, means)


def _honoured(server: Server, met: Meeting) -> Line:
    """Settings that are obeyed: at an extreme, all draws of an unsure position are the same token."""
    what = "settings obeyed"
    if len(_first_tokens(server, met, Sampling())) < 2:
        return Line(what, "not told", "the model was too sure of every token to tell")
    obeyed = [
        name
        for name, value in _SURE.items()
        if len(_first_tokens(server, met, replace(Sampling(), **{name: value}))) == 1
    ]
    ignored = [name for name in _SURE if name not in obeyed]
    return Line(what, ", ".join(obeyed) or "none", f"not obeyed: {', '.join(ignored)}" if ignored else "")


def _first_tokens(server: Server, met: Meeting, sampling: Sampling) -> set[str]:
    found = set()
    for seed in range(DRAWS):
        try:
            answer = server.ask(met.abilities.draw_body(sampling, met.unsure, 1, seed))
        except RequestRefusedError:
            return set()
        found.add(answer.text)
    return found


def _seed(server: Server, met: Meeting, draws: Sequence[Choice]) -> Line:
    same = [_draw(server, met, seed).text == draws[seed].text for seed in range(DRAWS // 2)]
    if len({draw.text for draw in draws}) == 1:
        return Line("seed", "not told", "all seeds gave one text")
    if all(same):
        return Line("seed", "honoured", "one seed gives one text")
    return Line("seed", "not honoured", "a rerun draws anew what its journal does not hold")


def _concurrency(server: Server, met: Meeting) -> Line:
    """Tokens a second with more and more requests in flight, until that no longer makes it faster."""
    rates: dict[int, float] = {}
    best = 1
    for level in LEVELS:
        bodies = [
            met.abilities.draw_body(Sampling(), met.prompt, DRAW_TOKENS, 1000 + level + number)
            for number in range(level)
        ]
        began = time.monotonic()
        try:
            answers = [future.result() for future in [server.start(body) for body in bodies]]
        except (RequestRefusedError, UserError):
            break
        rates[level] = sum(len(answer.tokens) + answer.left_out for answer in answers) / (time.monotonic() - began)
        best = max(rates, key=lambda one: rates[one] if one < level else rates[one] / WORTH)
        if best < level / 2:  # two levels without a gain
            break
    if not rates:
        return Line("concurrency", "not told")
    shown = ", ".join(f"{level}: {rate:.0f}" for level, rate in rates.items())
    return Line("concurrency", f"{best} at once", f"tokens/s by requests in flight: {shown}")
