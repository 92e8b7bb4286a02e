"""The openai engine against vLLM's own server: log-probs by transformers, ids with and without the server's help."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mindgap_data.engines import Completion, Draw, Sampling, Score, Scores
from mindgap_data.engines.server.engine import OpenAIEngine
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from tiny import CHATML, save_tiny_model
from vllm_tools import expected_logprobs, vllm_servers

pytestmark = pytest.mark.e2e

NOISE = 1e-4  # float32 against float64
NO_IDS = {"return_token_ids": False, "return_tokens_as_token_ids": False}
WORDS = ["the", " the", "an", " an", "s", "answer", " answer", " is", "is", "\n\n", "12", " 12"]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of printable text, cut in more than one way: "an" is a token, and so are "a" and "n"."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("printable")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = [level.pre_tokenize_str(chr(code))[0][0] for code in (10, *range(32, 127))]
    backend = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer, backend.decoder = level, decoders.ByteLevel()
    hf = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|pad|>")
    hf.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    hf.add_tokens([AddedToken(word, normalized=False) for word in WORDS])
    hf.chat_template = CHATML
    save_tiny_model(folder, vocab_size=len(hf), head_dim=32, sharpness=2.0)
    hf.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def servers(model_path: Path) -> Iterator[list[str]]:
    with vllm_servers(model_path, "processed_logprobs", "raw_logprobs") as urls:
        yield urls


@pytest.fixture(scope="module")
def tokenizer(model_path: Path) -> ChatTokenizer:
    return load_tokenizer(ModelSpec(model=str(model_path)))


@pytest.fixture(scope="module")
def reference(model_path: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float64).eval()


def run(url: str, tokenizer: ChatTokenizer, sampling: Sampling, **engine_args: Any) -> dict[Any, Any]:
    """Results of twelve draws and two scores."""
    engine = OpenAIEngine(
        url,
        "policy",
        tokenizer=tokenizer,
        sampling=sampling,
        max_context=None,
        api_key=None,
        concurrency=4,
        engine_args=engine_args,
    )
    prompts = [tokenizer.prompt_ids([{"role": "user", "content": text}]) for text in ("hi", "what is 2 + 3?")]
    pending: list[Any] = [Draw(f"d{seed}", prompts[seed % 2], seed, 24) for seed in range(12)]
    pending += [Score(f"s{i}", prompt, tokenizer.response_ids("The answer is 5.")) for i, prompt in enumerate(prompts)]
    results = {}
    while pending or engine.in_flight:
        picked = engine.pick(pending)
        engine.submit(picked)
        pending = [request for request in pending if request not in picked]
        results.update(engine.collect())
    engine.close()
    assert engine.max_context == 511  # one token of the server's 512 is for the answer to a score
    return results


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.9)])
def test_logprobs_are_those_of_transformers(
    servers: list[str], tokenizer: ChatTokenizer, reference: Any, temperature: float, top_p: float
) -> None:
    results = run(servers[0], tokenizer, Sampling(temperature=temperature, top_p=top_p))
    finishes = set()
    for request, result in results.items():
        if isinstance(request, Score):
            assert isinstance(result, Scores)
            expected = expected_logprobs(reference, request.prompt_ids, request.response_ids)
        else:
            assert isinstance(result, Completion)
            finishes.add(result.finish)
            assert (result.finish == "stop") == (result.token_ids[-1] == tokenizer.end_id)
            expected = expected_logprobs(
                reference, request.prompt_ids, result.token_ids, temperature=temperature, top_p=top_p
            )
        np.testing.assert_allclose(result.logprobs, expected, atol=NOISE)
    assert len(results) == 14
    assert finishes == {"stop", "length"}


def test_recovered_ids_are_the_servers_own(servers: list[str], tokenizer: ChatTokenizer) -> None:
    given = run(servers[0], tokenizer, Sampling())
    recovered = run(servers[0], tokenizer, Sampling(), **NO_IDS)
    drawn = [request for request in given if isinstance(request, Draw)]
    assert [recovered[draw].token_ids for draw in drawn] == [given[draw].token_ids for draw in drawn]


def test_raw_logprobs_serve_the_models_own_distribution_only(servers: list[str], tokenizer: ChatTokenizer) -> None:
    assert len(run(servers[1], tokenizer, Sampling())) == 14
    for sampling, option in [(Sampling(temperature=0.7), "--temperature"), (Sampling(top_p=0.9), "--top-p")]:
        with pytest.raises(UserError) as caught:
            run(servers[1], tokenizer, sampling)
        assert caught.value.message == (
            f"{servers[1]} gives log-probs that do not follow {option}, so they are not those of what it draws; start "
            "vLLM's server with --logprobs-mode processed_logprobs, or draw from the model itself: --temperature 1 "
            "--top-p 1, no --top-k, --min-p or --repetition-penalty"
        )


def test_every_processed_setting_is_recognised(servers: list[str], tokenizer: ChatTokenizer) -> None:
    sampling = Sampling(temperature=0.8, top_p=0.95, top_k=40, min_p=0.01, repetition_penalty=1.1)
    assert len(run(servers[0], tokenizer, sampling)) == 14


def test_name_that_is_not_served(servers: list[str], tokenizer: ChatTokenizer) -> None:
    with pytest.raises(UserError) as caught:
        run(servers[0], tokenizer, Sampling(), model="other")
    assert caught.value.message == (
        f"{servers[0]} has no model 'other' under /completions (HTTP 404: The model `other` does not exist. Valid "
        "aliases: policy.); name a served one with --engine-arg model=NAME, and end --base-url in /v1"
    )
