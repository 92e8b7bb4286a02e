"""The openai engine against servers that misbehave in one way each: one clear line, or a Failure of that request."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from mindgap_data.engines import Completion, Draw, Failure, Sampling, Score, Scores
from mindgap_data.engines.server.engine import OpenAIEngine
from mindgap_data.errors import UserError
from mindgap_data.policy.chat import ChatTokenizer
from misbehaving import Answer, completion, llama_completion, serving
from tiny import save_tiny_tokenizer

HI = [{"role": "user", "content": "hi"}]
AGAIN = "then run the same command again: it continues"
FREE = "or draw from the model itself: --temperature 1 --top-p 1, no --top-k, --min-p or --repetition-penalty"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> ChatTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tiny_tokenizer(folder)
    return ChatTokenizer(AutoTokenizer.from_pretrained(folder), "tiny")


def open_engine(url: str, tokenizer: ChatTokenizer, sampling: Sampling | None = None, **options: Any) -> OpenAIEngine:
    settings: dict[str, Any] = {"max_context": 512, "api_key": None, "timeout": 30, "retries": 0, "engine_args": {}}
    return OpenAIEngine(url, "m", tokenizer=tokenizer, sampling=sampling or Sampling(), **{**settings, **options})


def is_probe(body: dict[str, Any]) -> bool:
    return body["max_tokens"] in (1, 24)


def always(answer: Answer) -> Any:
    return lambda body: answer


STATUSES = [
    (401, "refuses the API key (HTTP 401: no such key); set --api-key"),
    (
        404,
        "has no model 'm' under /completions (HTTP 404: no such key); name a served one with --engine-arg model=NAME, "
        "and end --base-url in /v1",
    ),
    (500, f"keeps failing (HTTP 500: no such key); look at its log, {AGAIN}"),
    (503, f"keeps failing (HTTP 503: no such key); look at its log, {AGAIN}"),
    (429, f"keeps failing (HTTP 429: no such key); look at its log, {AGAIN}"),
    (
        400,
        "refuses a plain completion with log-probs: no such key; use a server that gives them, such as vLLM's, or "
        "--engine transformers",
    ),
]


@pytest.mark.parametrize(("status", "message"), STATUSES)
def test_error_status_is_one_line(tokenizer: ChatTokenizer, status: int, message: str) -> None:
    with serving(always((status, {"error": {"message": "no such\nkey"}}))) as url:
        with pytest.raises(UserError) as caught:
            open_engine(url, tokenizer)
        assert caught.value.message == f"{url} {message}"


ANSWERS = [
    (
        completion([]),
        "returns no log-probs from /completions; use a server that does, such as vLLM's, or --engine transformers",
    ),
    (
        (200, "<html>hello</html>"),
        "answers /completions with something else than a completion; is it an OpenAI-compatible server, and does "
        "--base-url end in /v1?",
    ),
    (
        (200, {"choices": []}),
        "answers /completions with something else than a completion; is it an OpenAI-compatible server, and does "
        "--base-url end in /v1?",
    ),
    (
        completion(["word", "s"]),
        "gives no token ids, and they cannot be told from its token strings with the tokenizer of 'tiny'; check that "
        "it serves this model, or use a server that has return_token_ids, such as vLLM's",
    ),
]


@pytest.mark.parametrize(("answer", "message"), ANSWERS, ids=["no-logprobs", "html", "no-choice", "other-tokenizer"])
def test_useless_answer_is_one_line(tokenizer: ChatTokenizer, answer: Answer, message: str) -> None:
    with serving(always(answer)) as url:
        with pytest.raises(UserError) as caught:
            open_engine(url, tokenizer)
        assert caught.value.message == f"{url} {message}"


def test_server_that_refuses_connections(tokenizer: ChatTokenizer) -> None:
    with serving(always(completion(["a"]))) as url:
        pass
    with pytest.raises(UserError, match=rf"^{url} cannot be reached \(.*\); start the server, {AGAIN}$"):
        open_engine(url, tokenizer)


def test_server_that_stalls(tokenizer: ChatTokenizer) -> None:
    release = threading.Event()

    def stall(body: dict[str, Any]) -> Answer:
        release.wait()
        return completion(["a"])

    with serving(stall) as url:
        with pytest.raises(UserError) as caught:
            open_engine(url, tokenizer, timeout=0.2)
        release.set()
    assert caught.value.message == (
        f"{url} gave no answer within 0.2 s; raise --request-timeout, lower --concurrency "
        f"or look at the server, {AGAIN}"
    )


def test_prompt_counted_differently(tokenizer: ChatTokenizer) -> None:
    status, body = completion(["a"])
    with serving(
        always((status, {**body, "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}}))
    ) as url:
        length = len(tokenizer.prompt_ids([{"role": "user", "content": "Name a random word."}]))
        with pytest.raises(UserError) as caught:
            open_engine(url, tokenizer)
        assert caught.value.message == (
            f"{url} counts 7 tokens in a prompt of {length}: it serves another tokenizer, or adds special tokens of "
            "its own; check --model against the served one"
        )


def test_plain_server_draws_and_scores_by_echo(tokenizer: ChatTokenizer) -> None:
    """OpenAI's own rule: unknown fields are an error, token strings but no ids, echo for given text."""
    known = {"model", "prompt", "max_tokens", "n", "seed", "logprobs", "temperature", "top_p", "echo"}
    known |= {"presence_penalty", "frequency_penalty"}

    def plain(body: dict[str, Any]) -> Answer:
        if unknown := set(body) - known:
            return 400, {"error": {"message": f"Unrecognized request argument supplied: {sorted(unknown)[0]}"}}
        if body.get("echo"):
            assert isinstance(body["prompt"], list)
            echoed = [tokenizer.decode([token]) for token in body["prompt"]]
            status, answer = completion([*echoed, "z"], logprob=-0.25)
            answer["choices"][0]["logprobs"]["token_logprobs"][0] = None
            return status, answer
        return completion(["b", "y", "e", "<|im_end|>"], finish="stop")

    with serving(plain) as url:
        engine = open_engine(url, tokenizer)
        prompt = tokenizer.prompt_ids(HI)
        draw, score = Draw("d", prompt, 1, 20), Score("s", prompt, tokenizer.response_ids("ok"))
        engine.submit([draw, score])
        results: dict[Any, Any] = {}
        while engine.in_flight:
            results.update(engine.collect())
        engine.close()
    assert results[draw] == Completion(tokenizer.response_ids("bye"), (-0.5,) * 4, "stop")
    assert results[score] == Scores((-0.25,) * 3)


def test_response_is_cut_at_the_end_of_the_turn(tokenizer: ChatTokenizer) -> None:
    """Whatever the server drew after it; ids as the server gives them."""
    ids = [*tokenizer.response_ids("ok"), *tokenizer.response_ids("and on")]

    def runs_on(body: dict[str, Any]) -> Answer:
        return completion([f"token_id:{token}" for token in ids])

    with serving(runs_on) as url:
        engine = open_engine(url, tokenizer)
        engine.submit([Draw("d", tokenizer.prompt_ids(HI), 1, 20)])
        ((_, result),) = engine.collect()
        engine.close()
    assert result == Completion(tokenizer.response_ids("ok"), (-0.5,) * 3, "stop")


def test_setting_the_server_does_not_take(tokenizer: ChatTokenizer) -> None:
    def plain(body: dict[str, Any]) -> Answer:
        return (400, {"error": {"message": "unknown field"}}) if "top_k" in body else completion(["a", "b"])

    with serving(plain) as url:
        with pytest.raises(UserError) as caught:
            open_engine(url, tokenizer, Sampling(top_k=5))
        assert caught.value.message == (f"{url} does not take top_k; leave --top-k out, or use --engine transformers")


@pytest.mark.parametrize(
    ("sampling", "option"),
    [
        (Sampling(temperature=0.7), "--temperature"),
        (Sampling(top_p=0.9), "--top-p"),
        (Sampling(top_k=5), "--top-k"),
        (Sampling(min_p=0.1), "--min-p"),
        (Sampling(repetition_penalty=1.1), "--repetition-penalty"),
    ],
)
def test_raw_logprobs_are_refused_for_other_sampling(tokenizer: ChatTokenizer, sampling: Sampling, option: str) -> None:
    with serving(always(completion(["a", "b"]))) as url:
        with pytest.raises(UserError) as caught:
            open_engine(url, tokenizer, sampling)
        assert caught.value.message == (
            f"{url} gives log-probs that do not follow {option}, so they are not those of what it draws; start vLLM's "
            f"server with --logprobs-mode processed_logprobs, {FREE}"
        )


def test_end_of_turn_left_out_is_refused(tokenizer: ChatTokenizer) -> None:
    with serving(always(completion(["o", "k"], finish="stop"))) as url:
        engine = open_engine(url, tokenizer)
        engine.submit([Draw("d", tokenizer.prompt_ids(HI), 1, 20)])
        with pytest.raises(UserError) as caught:
            engine.collect()
        engine.close()
        assert caught.value.message == (
            f"{url} leaves the end-of-turn token (<|im_end|>) out of its log-probs; use vLLM's server, or --engine "
            "transformers"
        )


def test_scores_are_refused_where_the_server_has_none(tokenizer: ChatTokenizer) -> None:
    with serving(always(completion(["a"]))) as url:
        engine = open_engine(url, tokenizer)
        assert not engine.can_score
        with pytest.raises(UserError) as caught:
            engine.submit([Score("s", (1, 2), (3,))])
        engine.close()
        assert caught.value.message == (
            "this server gives no log-probs of a given text (neither prompt_logprobs nor echo); use vLLM's or "
            "llama.cpp's server, or --engine transformers"
        )


FAILURES = [
    ((400, {"error": {"message": "prompt\nis bad"}}), "the server refuses it: prompt is bad"),
    ((422, {"detail": "prompt is bad"}), "the server refuses it: prompt is bad"),
    (completion(["a"], finish="content_filter"), "the server ended the response with 'content_filter'"),
    (
        completion(["not", "bytes"]),
        "the server gives no token ids, and its token strings fit none or several; use a server that has "
        "return_token_ids, such as vLLM's",
    ),
    (completion(["a"], logprob=float("nan")), "the server returned a log-prob that is no number"),
]


@pytest.mark.parametrize(("answer", "reason"), FAILURES, ids=["400", "422", "filter", "tokens", "nan"])
def test_fault_of_one_request_is_its_failure_alone(tokenizer: ChatTokenizer, answer: Answer, reason: str) -> None:
    def moody(body: dict[str, Any]) -> Answer:
        return completion(["a"]) if is_probe(body) or body["seed"] == 0 else answer

    with serving(moody) as url:
        engine = open_engine(url, tokenizer)
        good, bad = (Draw(str(seed), tokenizer.prompt_ids(HI), seed, 20) for seed in (0, 1))
        engine.submit([good, bad])
        results: dict[Any, Any] = {}
        while engine.in_flight:
            results.update(engine.collect())
        engine.close()
    assert results[good] == Completion(tokenizer.response_ids("a")[:-1], (-0.5,), "length")
    assert results[bad] == Failure(reason)


def test_too_long_for_the_context_is_a_failure(tokenizer: ChatTokenizer) -> None:
    with serving(always(completion(["a"]))) as url:
        engine = open_engine(url, tokenizer, max_context=10)
        draw = Draw("d", (5,) * 10, 1, 20)
        engine.submit([draw])
        assert engine.collect() == [(draw, Failure("10 tokens do not fit the context of 10"))]
        engine.close()


def test_server_that_dies_while_drawing(tokenizer: ChatTokenizer) -> None:
    with serving(always(completion(["a"]))) as url:
        engine = open_engine(url, tokenizer)
    engine.submit([Draw("d", tokenizer.prompt_ids(HI), 1, 20)])
    with pytest.raises(UserError, match=rf"^{url} cannot be reached \(.*\); start the server, {AGAIN}$"):
        engine.collect()
    engine.close()


def test_passing_trouble_is_retried(tokenizer: ChatTokenizer) -> None:
    seen = []

    def recovers(body: dict[str, Any]) -> Answer:
        seen.append(body)
        return (503, {"message": "warming up"}) if len(seen) == 1 else completion(["a"])

    with serving(recovers) as url:
        open_engine(url, tokenizer, retries=2).close()
    assert seen[0] == seen[1]


def test_never_more_in_flight_than_the_concurrency(tokenizer: ChatTokenizer) -> None:
    lock, now, peak = threading.Lock(), [0], [0]
    both = threading.Barrier(2)

    def counting(body: dict[str, Any]) -> Answer:
        if is_probe(body):
            return completion(["a"])
        with lock:
            now[0] += 1
            peak[0] = max(peak[0], now[0])
        both.wait(timeout=30)  # two at a time must be in flight for anything to be answered
        with lock:
            now[0] -= 1
        return completion(["a"])

    with serving(counting) as url:
        engine = open_engine(url, tokenizer, concurrency=2)
        pending = [Draw(str(seed), tokenizer.prompt_ids(HI), seed, 20) for seed in range(8)]
        done = 0
        assert engine.capacity == 4
        while pending or engine.in_flight:
            picked = engine.pick(pending)
            engine.submit(picked)
            pending = [draw for draw in pending if draw not in picked]
            assert engine.in_flight <= 2
            # Both answers of a pair must be in before the next pair starts, or a lone draw waits at the barrier.
            while engine.in_flight:
                done += len(engine.collect())
        engine.close()
    assert (done, peak[0]) == (8, 2)


def test_close_drops_what_is_in_flight(tokenizer: ChatTokenizer) -> None:
    release = threading.Event()

    def stalls_on_draws(body: dict[str, Any]) -> Answer:
        if not is_probe(body):
            release.wait()
        return completion(["a"])

    with serving(stalls_on_draws) as url:
        engine = open_engine(url, tokenizer, timeout=600)
        engine.submit([Draw("d", tokenizer.prompt_ids(HI), 1, 20)])
        engine.close()  # would wait ten minutes if it waited for the answer
        release.set()


def test_every_sampling_parameter_is_sent(tokenizer: ChatTokenizer) -> None:
    bodies = []

    def listening(body: dict[str, Any]) -> Answer:
        bodies.append(body)
        return completion(["a"])

    with serving(listening) as url:
        engine = open_engine(url, tokenizer, engine_args={"model": "served", "cache_prompt": True})
        engine.submit([Draw("d", (1, 2, 3), 77, 20)])
        engine.collect()
        engine.close()
    assert bodies[-1] == {
        "model": "served",
        "prompt": [1, 2, 3],
        "max_tokens": 20,
        "n": 1,
        "seed": 77,
        "logprobs": 1,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": [256],
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "add_special_tokens": False,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "cache_prompt": True,
    }


def test_field_that_would_change_the_distribution_is_refused(tokenizer: ChatTokenizer) -> None:
    with pytest.raises(UserError) as caught:
        open_engine("http://127.0.0.1:9/v1", tokenizer, engine_args={"logit_bias": {"5": 3}})
    assert caught.value.message == "--engine-arg logit_bias: this one is mindgap's own to set; leave it out"


def draw_once(url: str, tokenizer: ChatTokenizer, sampling: Sampling | None = None) -> Any:
    engine = open_engine(url, tokenizer, sampling)
    engine.submit([Draw("d", tokenizer.prompt_ids(HI), 77, 20)])
    ((_, result),) = engine.collect()
    engine.close()
    return result


def test_llama_cpp_is_asked_in_its_own_words(tokenizer: ChatTokenizer) -> None:
    """Its own name of the penalty, a chain without the samplers it may have been started with, and no ignore_eos."""
    bodies = []
    ids = tokenizer.response_ids("ok")

    def llama(body: dict[str, Any]) -> Answer:
        bodies.append(body)
        return llama_completion(list(ids), "ok", finish="stop")

    with serving(llama) as url:
        assert draw_once(url, tokenizer) == Completion(ids, (-0.5,) * 3, "stop")
    sent = bodies[-1]
    assert sent["samplers"] == ["penalties", "temperature", "top_k", "top_p", "min_p"]
    assert (sent["repeat_penalty"], sent["repeat_last_n"], sent["mirostat"]) == (1.0, 0, 0)
    assert sent["post_sampling_probs"] is False
    assert "ignore_eos" not in sent


def test_llama_cpp_gives_processed_log_probs_where_it_is_asked_to(tokenizer: ChatTokenizer) -> None:
    """By themselves its log-probs do not follow the sampling; after the chain they do."""
    bodies = []
    ids = tokenizer.response_ids("ok")

    def llama(body: dict[str, Any]) -> Answer:
        bodies.append(body)
        moved = body["post_sampling_probs"] and body["top_p"] < 1 if "post_sampling_probs" in body else False
        return llama_completion(list(ids), "ok", logprob=-0.2 if moved else -0.5, finish="stop")

    with serving(llama) as url:
        assert draw_once(url, tokenizer, Sampling(top_p=0.9)) == Completion(ids, (-0.2,) * 3, "stop")
        assert bodies[-1]["post_sampling_probs"] is True
        assert draw_once(url, tokenizer, Sampling(temperature=0)) == Completion(ids, (-0.5,) * 3, "stop")
        assert bodies[-1]["post_sampling_probs"] is False  # of a greedy draw they would all be 0


def test_response_that_ends_at_another_special_token_is_truncated(tokenizer: ChatTokenizer) -> None:
    (other,) = tokenizer.hf.convert_tokens_to_ids(["<|pad|>"])
    ids = [*tokenizer.response_ids("ok")[:-1], other]
    with serving(always(llama_completion(ids, "ok", finish="stop"))) as url:
        assert draw_once(url, tokenizer) == Completion(tuple(ids), (-0.5,) * 3, "length")


def test_tokens_left_out_fail_that_draw(tokenizer: ChatTokenizer) -> None:
    status, body = llama_completion(list(tokenizer.response_ids("ok")), "ok", finish="stop")
    counted = {**body, "usage": {"prompt_tokens": None, "completion_tokens": 5, "total_tokens": 5}}
    with serving(always((status, counted))) as url:
        assert draw_once(url, tokenizer) == Failure(
            "the server gives no log-probs of 2 tokens that end inside a character, as llama.cpp does; use vLLM's "
            "server, or --engine transformers"
        )


def test_refused_for_now_halves_the_requests_in_flight_and_loses_none(tokenizer: ChatTokenizer) -> None:
    """A server that takes four at once and refuses the others, while 32 are sent."""
    lock, now = threading.Lock(), [0]

    def small(body: dict[str, Any]) -> Answer:
        if is_probe(body):
            return completion(["a"])
        with lock:
            if now[0] >= 4:
                return 429, {"error": {"message": "too many"}}
            now[0] += 1
        threading.Event().wait(0.05)
        with lock:
            now[0] -= 1
        return completion(["a"])

    with serving(small) as url:
        engine = open_engine(url, tokenizer, retries=1)
        pending = [Draw(str(seed), tokenizer.prompt_ids(HI), seed, 20) for seed in range(40)]
        assert (engine.slots, engine.capacity) == (32, 64)
        results: dict[Any, Any] = {}
        sizes = []
        while pending or engine.in_flight:
            picked = engine.pick(pending)
            engine.submit(picked)
            pending = [draw for draw in pending if draw not in picked]
            results.update(engine.collect())
            sizes.append(engine.slots)
        engine.close()
    assert len(results) == 40
    assert {type(result) for result in results.values()} == {Completion}
    assert min(sizes) <= 8


def test_llama_cpp_lists_its_context_and_says_what_is_too_long(tokenizer: ChatTokenizer) -> None:
    """As its server really does."""
    data = Path(__file__).parents[3] / "data" / "llama_cpp"
    too_long = json.loads((data / "too_long.json").read_text())
    listed = json.loads((data / "models.json").read_text())["answer"]

    def llama(body: dict[str, Any]) -> Answer:
        return llama_completion([1, 2], "ab") if is_probe(body) else (too_long["status"], too_long["answer"])

    with serving(llama, listed) as url:
        engine = open_engine(url, tokenizer, max_context=None)
        assert engine.max_context == 2047
        engine.submit([Draw("d", tokenizer.prompt_ids(HI), 1, 20)])
        ((_, result),) = engine.collect()
        engine.close()
    assert result == Failure(
        "the server refuses it: request (12400 tokens) exceeds the available context size (2048 tokens), try "
        "increasing it"
    )


def test_llama_cpp_scores_by_forcing_each_token_and_reads_raw_log_probs(tokenizer: ChatTokenizer) -> None:
    """After its sampling chain a forced token has probability 1, whatever the model thinks of it."""
    ids = tokenizer.response_ids("ok")

    def llama(body: dict[str, Any]) -> Answer:
        processed = body.get("post_sampling_probs", False)
        if "logit_bias" in body:
            return llama_completion([body["logit_bias"][0][0]], "", logprob=0.0 if processed else -0.5)
        return llama_completion(list(ids), "ok", logprob=-0.2 if processed and body["top_p"] < 1 else -0.5)

    with serving(llama) as url:
        engine = open_engine(url, tokenizer, Sampling(top_p=0.9))
        engine.submit([Score("s", tokenizer.prompt_ids(HI), ids)])
        ((_, result),) = engine.collect()
        engine.close()
    assert result == Scores((-0.5,) * 3)
