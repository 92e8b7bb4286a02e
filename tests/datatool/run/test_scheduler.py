"""The scheduler over a real engine: order, early stopping and its law, batches that stay full, replay."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mindgap_data.engines import Draw, Recalled, Sampling, Score, Scores
from mindgap_data.engines.transformers import TransformersEngine
from mindgap_data.policy.models import ModelSpec, load_tokenizer
from mindgap_data.run.journal import Journal
from mindgap_data.run.outcomes import Attempt, Meter, Outcome, decode_outcome, encode_outcome
from mindgap_data.run.scheduler import Ask, Scheduler, Steps, Task, draw
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


def first_right(engine: TransformersEngine, name: str, right: set[int], cap: int = 1) -> Steps[tuple[int, ...] | None]:
    """Draw until the first token is right; the next draws are announced, so free slots may begin them."""
    prompt = engine.tokenizer.prompt_ids([{"role": "user", "content": "x"}])
    draws = [draw(f"{name}/{attempt}", prompt, 5, cap) for attempt in range(40)]
    for attempt, one in enumerate(draws):
        (outcome,) = yield Ask([one], later=draws[attempt + 1 :])
        assert isinstance(outcome, Attempt)
        if outcome.token_ids[0] in right:
            return outcome.token_ids
    return None


def test_draws_started_ahead_keep_the_law_and_are_counted_apart(tmp_path: Path) -> None:
    """Few rows and many slots: nearly every later draw is started before it is known to be needed.

    What is kept must be exactly what one draw after the other would have kept, whose law the test above proves.
    """
    folder = save_tiny_model(tmp_path, sharpness=0.6)
    right = {token for token in range(256) if token % 3 == 0}

    def keep(slots: int, rows: int) -> tuple[list[tuple[int, ...] | None], Meter]:
        engine = engine_of(folder, batch_size=slots)
        with VerifierPool("exact") as pool:
            scheduler = Scheduler[tuple[int, ...] | None](engine, pool)
            tasks = (Task(first_right(engine, str(n), right), "x", {}) for n in range(rows))
            return list(scheduler.run(tasks)), scheduler.meter

    one_by_one, plain = keep(1, 60)
    ahead, meter = keep(128, 60)
    assert ahead == one_by_one
    assert plain.ahead_draws == 0
    assert meter.ahead_draws > 0
    assert (meter.draws, meter.drawn_tokens) == (plain.draws, plain.drawn_tokens)


def until_correct(engine: TransformersEngine, n: int) -> Steps[tuple[Outcome, ...]]:
    prompt = engine.tokenizer.prompt_ids([{"role": "user", "content": f"{n} {'long ' * (n % 5)}"}])
    draws = [draw(f"{n}/{attempt}", prompt, 0, 12) for attempt in range(6)]
    seen: list[Outcome] = []
    for attempt, one in enumerate(draws):
        (outcome,) = yield Ask([one], later=draws[attempt + 1 :])
        seen.append(outcome)
        if isinstance(outcome, Attempt) and outcome.verdict == "correct":
            break
    last = seen[-1]
    assert isinstance(last, Attempt)
    seen += yield [Score(f"{n}/score", prompt, last.token_ids)]
    return tuple(seen)


def test_the_bits_do_not_depend_on_when_verdicts_come_nor_on_where_a_run_was_killed(
    folder: Path, tmp_path: Path
) -> None:
    """Ids, log-probs and scores of runs with other delays, and of reruns from any prefix of the journal, are equal."""

    def results(path: Path) -> tuple[list[tuple[Outcome, ...]], int]:
        engine, journal = engine_of(folder, batch_size=4), Journal(path, {}, encode_outcome, decode_outcome)
        with VerifierPool("verdicts:by_length_in_its_own_time") as pool:
            scheduler = Scheduler[tuple[Outcome, ...]](engine, pool, journal)
            tasks = (Task(until_correct(engine, n), "x", {}) for n in range(14))
            found = list(scheduler.run(tasks))
        journal.close()
        return found, engine.computed

    first, computed = results(tmp_path / "first")
    lines = (tmp_path / "first").read_bytes().splitlines(keepends=True)
    assert len(lines) > 20
    for kept in (1, len(lines) // 3, 2 * len(lines) // 3, len(lines) - 1, len(lines)):
        path = tmp_path / f"after {kept}"
        path.write_bytes(b"".join(lines[:kept]))
        again, recomputed = results(path)
        assert again == first, f"after {kept} of {len(lines)} lines of the journal"
        assert recomputed <= computed
    assert recomputed == 0


def test_a_draws_seed_follows_from_run_seed_and_key() -> None:
    seeds = [draw(key, (1,), seed, 5).seed for key, seed in (("a/0", 0), ("a/1", 0), ("b/0", 0), ("a/0", 1))]
    assert len(set(seeds)) == 4
    assert draw("a/0", (9, 9), 0, 7).seed == seeds[0]
    assert all(0 <= seed < 2**31 for seed in seeds)
