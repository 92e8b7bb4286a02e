"""The scheduler over a real engine: order, early stopping and its law, batches that stay full, replay."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mindgap_data.engines import Draw, Recalled, Sampling, Score, Scores
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.run.journal import Journal
from mindgap_data.run.outcomes import Attempt, Outcome, decode_outcome, encode_outcome
from mindgap_data.run.scheduler import Scheduler, Steps, Task, draw
from mindgap_data.verify.pool import VerifierPool
from tiny import save_tiny_model


class CountingEngine(TransformersEngine):
    """The real engine, remembering how many requests it had to compute."""

    computed: int

    def submit(self, requests: Sequence[Draw | Score | Recalled]) -> None:
        self.computed += sum(not isinstance(request, Recalled) for request in requests)
        super().submit(requests)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def engine_of(folder: Path, batch_size: int = 8) -> CountingEngine:
    spec = ModelSpec(model=str(folder))
    engine = CountingEngine(
        spec, tokenizer=load_tokenizer(spec), sampling=Sampling(), max_context=None, batch_size=batch_size
    )
    engine.computed = 0
    return engine


def first_with_even_length(engine: CountingEngine, name: str, cap: int = 12) -> Steps[tuple[str, int]]:
    """Draw until a response has an even number of tokens, then score it."""
    prompt = engine.tokenizer.prompt_ids([{"role": "user", "content": name}])
    for attempt in range(20):
        (outcome,) = yield [draw(f"{name}/{attempt}", prompt, 0, cap)]
        assert isinstance(outcome, Attempt)
        if outcome.tokens % 2 == 0:
            (score,) = yield [Score(f"{name}/score", prompt, outcome.token_ids)]
            assert isinstance(score, Scores)
            assert len(score.logprobs) == outcome.tokens
            return name, attempt
    return name, -1


def run(engine: CountingEngine, names: Sequence[str], journal: Journal[Outcome] | None = None) -> list[tuple[str, int]]:
    with VerifierPool("exact") as pool:
        scheduler = Scheduler[tuple[str, int]](engine, pool, journal)
        return list(scheduler.run(Task(first_with_even_length(engine, name), "x", {}) for name in names))


def test_results_come_in_the_order_of_the_tasks_and_batches_stay_full(folder: Path) -> None:
    engine = engine_of(folder)
    names = [f"task {n} {'long ' * (n % 5)}" for n in range(40)]
    results = run(engine, names)
    assert [name for name, _ in results] == names
    assert len({attempts for _, attempts in results}) > 1, "retries must have happened"
    assert engine.occupancy is not None
    assert engine.occupancy > 0.9, "verdicts, retries and scores leave no slot empty while draws wait"


def test_a_replay_asks_the_engine_for_nothing(folder: Path, tmp_path: Path) -> None:
    names = [f"task {n}" for n in range(12)]

    def journal() -> Journal[Outcome]:
        return Journal(tmp_path / "j", {}, encode_outcome, decode_outcome)

    engine, first = engine_of(folder), journal()
    results = run(engine, names, first)
    first.close()
    engine.computed = 0
    again = journal()
    assert run(engine, names, again) == results
    assert engine.computed == 0
    again.close()


def test_early_stopping_keeps_the_law_of_a_uniform_pick(tmp_path: Path) -> None:
    """Every response of one token is listed; the first right one must follow pi restricted to the right ones.

    Law: q(y) = pi(y) c(y) / Z, the same as picking uniformly among the right ones of K draws (chi-square test).
    """
    import torch
    from scipy.stats import chisquare

    engine = engine_of(save_tiny_model(tmp_path, sharpness=0.6), batch_size=250)
    prompt = engine.tokenizer.prompt_ids([{"role": "user", "content": "x"}])
    right = {token for token in range(256) if token % 3 == 0}

    def first_right(name: str) -> Steps[int | None]:
        for attempt in range(60):
            (outcome,) = yield [draw(f"{name}/{attempt}", prompt, 5, 1)]
            assert isinstance(outcome, Attempt)
            if outcome.token_ids[0] in right:
                return outcome.token_ids[0]
        return None

    with VerifierPool("exact") as pool:
        scheduler = Scheduler[int | None](engine, pool)
        picks = list(scheduler.run(Task(first_right(str(n)), "x", {}) for n in range(3000)))
    assert None not in picks
    with torch.no_grad():
        pi = engine.model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1)
    law = {token: pi[token].item() for token in right}
    mass = sum(law.values())
    counts = Counter(picks)
    common = [token for token in law if law[token] / mass * len(picks) >= 5]
    observed = [counts[token] for token in common]
    expected = [law[token] / mass * len(picks) for token in common]
    observed.append(len(picks) - sum(observed))
    expected.append(len(picks) - sum(expected))
    assert chisquare(observed, expected).pvalue > 1e-3


def test_a_draws_seed_follows_from_run_seed_and_key() -> None:
    seeds = [draw(key, (1,), seed, 5).seed for key, seed in (("a/0", 0), ("a/1", 0), ("b/0", 0), ("a/0", 1))]
    assert len(set(seeds)) == 4
    assert draw("a/0", (9, 9), 0, 7).seed == seeds[0]
    assert all(0 <= seed < 2**31 for seed in seeds)
