"""The openai engine against llama.cpp's own server (`make test-servers`); its values again in float64."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from llama_tools import llama_serving
from mindgap_data.engines import Completion, Draw, Sampling, Score, Scores
from mindgap_data.engines.server.bodies import Abilities
from mindgap_data.engines.server.engine import OpenAIEngine
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import BUILTIN, ModelSpec, load_tokenizer

pytestmark = pytest.mark.e2e

HI = [{"role": "user", "content": "Say hi."}]
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=0.7, top_p=0.9),
    Sampling(top_k=30, min_p=0.05),
    Sampling(temperature=1.3, top_p=0.8, top_k=50, min_p=0.01),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # DRY would change the distribution behind the record's back, if the chain of every request did not leave it out.
    log = tmp_path_factory.mktemp("llama") / "server.log"
    with llama_serving(log, "--dry-multiplier", "0.8", "--repeat-penalty", "1.3", "--top-k", "5") as base:
        yield base


@pytest.fixture(scope="module")
def tokenizer() -> ChatTokenizer:
    return load_tokenizer(ModelSpec(model=BUILTIN))


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = Request(f"{url}/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        choice: dict[str, Any] = json.load(answer)["choices"][0]
    return choice


def distribution(url: str, abilities: Abilities, sampling: Sampling, ids: tuple[int, ...], vocabulary: int) -> Any:
    """Every token's probability after ``ids``, as the server gives it."""
    bodies = ({**abilities.draw_body(sampling, ids, 1, seed), "logprobs": vocabulary} for seed in range(20))
    # Where it draws a part of a character it gives nothing: another seed.
    given = next(choice["logprobs"] for choice in (post(url, body) for body in bodies) if choice["logprobs"])
    content = given["content"][0]
    found = np.zeros(vocabulary)
    for entry in content.get("top_logprobs") or content["top_probs"]:
        found[entry["id"]] = entry["prob"] if "prob" in entry else np.exp(entry["logprob"])
    return found


def expected(raw: Any, sampling: Sampling) -> Any:
    """The sampling distribution: temperature, then top-k, top-p and min-p, each renormalised."""
    probabilities = raw ** (1 / sampling.temperature)
    ranks = np.argsort(np.argsort(-probabilities))
    if sampling.top_k:
        probabilities = np.where(ranks < sampling.top_k, probabilities, 0)
    probabilities /= probabilities.sum()
    before = np.cumsum(np.sort(probabilities)[::-1])[ranks] - probabilities
    probabilities = np.where(before < sampling.top_p, probabilities, 0)
    probabilities = np.where(probabilities >= sampling.min_p * probabilities.max(), probabilities, 0)
    return probabilities / probabilities.sum()


@pytest.mark.parametrize("sampling", SAMPLINGS[1:])
def test_processed_values_are_those_of_the_sampling(url: str, tokenizer: ChatTokenizer, sampling: Sampling) -> None:
    plain = Abilities(True, True, {}, tokenizer.decode, is_llama=True)
    ids, size = tokenizer.prompt_ids(HI), tokenizer.vocabulary
    raw = distribution(url, plain, Sampling(), ids, size)
    assert raw.sum() == pytest.approx(1, abs=1e-3)  # it normalises in float32
    processed = distribution(url, replace(plain, post_sampling=True), sampling, ids, size)
    np.testing.assert_allclose(processed, expected(raw, sampling), atol=1e-6)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_draws_are_exact(url: str, tokenizer: ChatTokenizer, sampling: Sampling) -> None:
    """Ids whose text is the server's own, and at every place the log-prob that the server gives when asked for it."""
    engine = OpenAIEngine(
        url, BUILTIN, tokenizer=tokenizer, sampling=sampling, max_context=None, api_key=None, engine_args={}
    )
    engine.submit([Draw(f"d{seed}", tokenizer.prompt_ids(HI), seed, 30) for seed in range(6)])
    results: dict[Any, Any] = {}
    while engine.in_flight:
        results.update(engine.collect())
    engine.close()
    assert engine.max_context == 1023  # 4096 over four slots, one token kept
    drawn = [(draw, result) for draw, result in results.items() if isinstance(result, Completion)]
    assert len(drawn) >= 3  # an emoji costs a draw: see tests/data/llama_cpp/split_character.json
    plain = Abilities(True, True, {}, tokenizer.decode, is_llama=True)
    for draw, result in drawn[:2]:
        for place in (0, len(result.token_ids) // 2, len(result.token_ids) - 1):
            before = (*draw.prompt_ids, *result.token_ids[:place])
            raw = distribution(url, plain, Sampling(), before, tokenizer.vocabulary)
            probability = expected(raw, sampling)[result.token_ids[place]]
            # Prompts of other lengths run through other kernels, on quantised activations.
            assert result.logprobs[place] == pytest.approx(np.log(probability), abs=0.1)


def test_scores_are_the_models_own_log_probs(url: str, tokenizer: ChatTokenizer) -> None:
    """Whatever the sampling: of the same text its own draw has them at temperature 1."""
    engine = OpenAIEngine(
        url, BUILTIN, tokenizer=tokenizer, sampling=Sampling(top_p=0.9), max_context=None, api_key=None, engine_args={}
    )
    score = Score("s", tokenizer.prompt_ids(HI), tokenizer.response_ids("Hello there."))
    engine.submit([score])
    ((_, result),) = engine.collect()
    engine.close()
    assert isinstance(result, Scores)
    plain = Abilities(True, True, {}, tokenizer.decode, is_llama=True)
    for place, token in enumerate(score.response_ids):
        before = (*score.prompt_ids, *score.response_ids[:place])
        raw = distribution(url, plain, Sampling(), before, tokenizer.vocabulary)
        assert result.logprobs[place] == pytest.approx(np.log(raw[token]), abs=0.1)
