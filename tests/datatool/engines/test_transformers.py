"""The transformers engine against independent forward passes: what it says it sampled is what the model gives."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mindgap_data.engines import Completion, Draw, Failure, Sampling, Score, Scores
from mindgap_data.engines.logprobs import response_logprobs
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.policy.models import ModelSpec, load_model, load_tokenizer
from tiny import save_tiny_model

PROMPTS = ("hi", "What is 2 + 3?", "a much longer question, so that padding differs a good deal between the rows")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def engine_of(folder: Path, sampling: Sampling = Sampling(), batch_size: int = 8) -> TransformersEngine:  # noqa: B008
    spec = ModelSpec(model=str(folder))
    return TransformersEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=sampling, max_context=None, batch_size=batch_size
    )


def draw_all(engine: TransformersEngine, draws: list[Draw]) -> list[Completion]:
    results: dict[str, Completion] = {}
    pending = list(draws)
    while pending or engine.in_flight:
        batch = engine.pick(pending)
        engine.submit(batch)
        pending = [draw for draw in pending if draw not in batch]
        for request, result in engine.collect():
            assert isinstance(result, Completion)
            results[request.key] = result
    return [results[draw.key] for draw in draws]


def draws_of(engine: TransformersEngine, copies: int = 4, max_tokens: int = 24) -> list[Draw]:
    prompts = [engine.tokenizer.prompt_ids([{"role": "user", "content": text}]) for text in PROMPTS]
    return [Draw(f"{i}/{n}", ids, 1000 * i + n, max_tokens) for i, ids in enumerate(prompts) for n in range(copies)]


def processed_logits(model: Any, prompt: tuple[int, ...], ids: tuple[int, ...], s: Sampling) -> torch.Tensor:
    """Row by row, no batch, no cache, float64: penalty, temperature, top-k, top-p, min-p by their definitions."""
    with torch.no_grad():
        logits = model.double()(torch.tensor([[*prompt, *ids]])).logits[0]
    rows = []
    for t in range(len(ids)):
        row = logits[len(prompt) - 1 + t].clone()
        if s.repetition_penalty != 1.0:
            for token in {*prompt, *ids[:t]}:
                row[token] = row[token] / s.repetition_penalty if row[token] > 0 else row[token] * s.repetition_penalty
        row = row / s.temperature
        if s.top_k:
            row[row < row.topk(s.top_k).values[-1]] = -math.inf
        if s.top_p < 1:
            probs, order = row.softmax(-1).sort(descending=True)
            keep = probs.cumsum(-1) - probs < s.top_p
            row[order[~keep]] = -math.inf
        if s.min_p:
            probs = row.softmax(-1)
            row[probs < s.min_p * probs.max()] = -math.inf
        rows.append(row.log_softmax(-1))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.6),
        Sampling(temperature=1.4),
        Sampling(top_p=0.8),
        Sampling(temperature=0.7, top_p=0.9, top_k=20),
        Sampling(min_p=0.05),
        Sampling(repetition_penalty=1.3),
    ],
    ids=str,
)
def test_logprobs_are_of_the_processed_distribution(folder: Path, sampling: Sampling) -> None:
    engine = engine_of(folder, sampling)
    draws = draws_of(engine)
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for draw, completion in zip(draws, draw_all(engine, draws), strict=True):
        expected = processed_logits(reference, draw.prompt_ids, completion.token_ids, sampling)
        picked = expected[torch.arange(len(completion.token_ids)), torch.tensor(completion.token_ids)]
        assert completion.logprobs == pytest.approx(picked.tolist(), abs=2e-5)


def test_a_draw_does_not_depend_on_its_batch(folder: Path) -> None:
    alone, together = engine_of(folder, batch_size=1), engine_of(folder, batch_size=12)
    draws = draws_of(alone)
    for one, other in zip(draw_all(alone, draws), draw_all(together, draws), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_same_seed_same_draw_and_other_seeds_other_draws(folder: Path) -> None:
    first, again = (draw_all(engine, draws_of(engine)) for engine in (engine_of(folder), engine_of(folder)))
    assert first == again
    assert len({completion.token_ids for completion in first}) == len(first)


def test_draws_follow_the_models_distribution(tmp_path: Path) -> None:
    """One token drawn 4,000 times: a chi-square test against the softmax, all rare tokens pooled."""
    from scipy.stats import chisquare

    engine = engine_of(save_tiny_model(tmp_path, sharpness=0.5), batch_size=500)
    prompt = engine.tokenizer.prompt_ids([{"role": "user", "content": "x"}])
    drawn = draw_all(engine, [Draw(str(n), prompt, n, 1) for n in range(4000)])
    with torch.no_grad():
        probs = engine.model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
    counts = torch.bincount(torch.tensor([one.token_ids[0] for one in drawn]), minlength=probs.numel()).double()
    common = probs * 4000 >= 5
    observed = [*counts[common].tolist(), counts[~common].sum().item()]
    expected = [*(probs[common] * 4000).tolist(), probs[~common].sum().item() * 4000]
    assert chisquare(observed, expected).pvalue > 1e-3


def test_a_completion_ends_with_its_end_of_turn_or_at_its_cap(folder: Path) -> None:
    engine = engine_of(folder)
    drawn = draw_all(engine, draws_of(engine, copies=40, max_tokens=60))
    assert {one.finish for one in drawn} == {"stop", "length"}
    for one in drawn:
        ends = [token in engine.tokenizer.end_ids for token in one.token_ids]
        assert ends == [False] * (len(ends) - 1) + [one.finish == "stop"]
        assert len(one.logprobs) == len(one.token_ids) <= 60
        assert one.finish == "stop" or len(one.token_ids) == 60


def test_caps_are_each_draws_own(folder: Path) -> None:
    engine = engine_of(folder)
    draws = [Draw(str(n), draws_of(engine)[0].prompt_ids, 7, cap) for n, cap in enumerate((1, 5, 30))]
    drawn = draw_all(engine, draws)
    assert [len(one.token_ids) <= draw.max_tokens for one, draw in zip(drawn, draws, strict=True)] == [True] * 3
    assert drawn[2].token_ids[:5] == drawn[1].token_ids


def test_scores_equal_a_row_at_a_time_full_softmax(folder: Path) -> None:
    engine = engine_of(folder)
    tokenizer = engine.tokenizer
    prompts = [tokenizer.prompt_ids([{"role": "user", "content": text}]) for text in PROMPTS]
    scores = [Score(text, ids, tokenizer.response_ids(text * 3)) for text, ids in zip(PROMPTS, prompts, strict=True)]
    engine.submit(scores)
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for request, result in engine.collect():
        assert isinstance(request, Score)
        assert isinstance(result, Scores)
        expected = processed_logits(reference, request.prompt_ids, request.response_ids, Sampling())
        picked = expected[torch.arange(len(request.response_ids)), torch.tensor(request.response_ids)]
        assert result.logprobs == pytest.approx(picked.tolist(), abs=2e-5)


@pytest.mark.parametrize(
    ("architecture", "extra"),
    [
        ("Gemma2", {"final_logit_softcapping": 5.0, "head_dim": 8}),
        ("Granite", {"logits_scaling": 8.0}),
        ("Cohere", {"logit_scale": 0.25}),
    ],
)
def test_scores_respect_what_a_model_does_after_its_head(architecture: str, extra: dict[str, object]) -> None:
    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.5, pad_token_id=0, bos_token_id=1, eos_token_id=2, **extra,
    )  # fmt: skip
    model = getattr(transformers, f"{architecture}ForCausalLM")(config).eval()
    rows = [((3, 4, 5), (6, 7, 8, 9)), ((10, 11, 12, 13, 14), (15, 16))]
    with torch.no_grad():
        got = response_logprobs(model, rows)
        for (prompt, response), logprobs in zip(rows, got, strict=True):
            full = model(torch.tensor([[*prompt, *response]])).logits[0].log_softmax(-1)
            expected = [full[len(prompt) - 1 + t, token].item() for t, token in enumerate(response)]
            assert logprobs == pytest.approx(expected, abs=1e-5)


def test_an_adapter_changes_draws_and_scores(folder: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder)
    adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path)
    model = load_model(ModelSpec(model=str(folder), adapter=str(tmp_path)))
    row = ((5, 6, 7), (8, 9, 10))
    with torch.no_grad():
        full = adapted.eval()(torch.tensor([[*row[0], *row[1]]])).logits[0].log_softmax(-1)
        got = response_logprobs(model, [row])[0]
        plain = response_logprobs(load_model(ModelSpec(model=str(folder))), [row])[0]
    assert got == pytest.approx([full[2 + t, token].item() for t, token in enumerate(row[1])], abs=1e-5)
    assert got != pytest.approx(plain, abs=1e-3)


def test_greedy_takes_the_likeliest_token_and_gives_its_log_prob_at_temperature_one(folder: Path) -> None:
    engine = engine_of(folder, Sampling(temperature=0.0))
    draws = draws_of(engine, copies=2)
    reference = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    for draw, completion in zip(draws, draw_all(engine, draws), strict=True):
        expected = processed_logits(reference, draw.prompt_ids, completion.token_ids, Sampling())
        assert completion.token_ids == tuple(expected.argmax(-1).tolist())
        assert completion.logprobs == pytest.approx(expected.max(-1).values.tolist(), abs=2e-5)


@pytest.mark.parametrize(("option", "tolerance"), [("load_in_4bit", 1e-4), ("load_in_8bit", 0.5)])
def test_a_quantised_recipes_model_draws_and_scores_alike(tmp_path: Path, option: str, tolerance: float) -> None:
    """In 8 bits the columns kept in full precision are chosen batch by batch, so the batch shows in the log-probs."""
    pytest.importorskip("bitsandbytes")
    folder = save_tiny_model(tmp_path, hidden_size=128, intermediate_size=256)
    spec = ModelSpec(model=str(folder), load_options={option: True})
    engine = TransformersEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=Sampling(), max_context=None, batch_size=3
    )
    draws = draws_of(engine, copies=2, max_tokens=8)
    drawn = draw_all(engine, draws)
    engine.submit([Score(d.key, d.prompt_ids, c.token_ids) for d, c in zip(draws, drawn, strict=True)])
    scored = {request.key: result for request, result in engine.collect()}
    for draw, completion in zip(draws, drawn, strict=True):
        result = scored[draw.key]
        assert isinstance(result, Scores)
        assert completion.logprobs == pytest.approx(result.logprobs, abs=tolerance)


def test_a_row_longer_than_the_context_is_not_scored(folder: Path) -> None:
    spec = ModelSpec(model=str(folder))
    engine = TransformersEngine(spec, tokenizer=load_tokenizer(spec), sampling=Sampling(), max_context=8, batch_size=2)
    engine.submit([Score("fits", (1, 2, 3), (4, 5, 6, 7, 8)), Score("too long", (1, 2, 3), (4, 5, 6, 7, 8, 9))])
    results = {request.key: result for request, result in engine.collect()}
    assert isinstance(results["fits"], Scores)
    assert results["too long"] == Failure("9 tokens do not fit the context of 8")
