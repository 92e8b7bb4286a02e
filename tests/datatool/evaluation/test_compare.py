"""Comparison of two evaluations: tests against scipy and hand-checked values, and what is said in words."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from mindgap_data.commands import main
from mindgap_data.evaluation.compare import Evaluation, caveats, compare, holm


def evaluation(samples: int = 4, settings: Mapping[str, Any] | None = None, **accuracy: Sequence[float]) -> Evaluation:
    return Evaluation(
        Path("run"),
        {"samples": samples, **(settings or {})},
        {name: {str(i): value for i, value in enumerate(values)} for name, values in accuracy.items()},
    )


def noisy(n: int, gain: float, seed: int) -> tuple[list[float], list[float]]:
    """Accuracies over 4 draws of two runs on problems of mixed difficulty."""
    rng = np.random.default_rng(seed)
    ability = rng.uniform(0.1, 0.8, n)
    return list(rng.binomial(4, ability) / 4), list(rng.binomial(4, np.minimum(ability + gain, 1)) / 4)


def test_the_interval_agrees_with_scipys_paired_bootstrap() -> None:
    a, b = noisy(200, 0.1, 0)
    (one,) = compare(evaluation(math=a), evaluation(math=b))
    reference = stats.bootstrap(
        (np.array(b) - np.array(a),), np.mean, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    assert (one.a, one.b) == pytest.approx((np.mean(a), np.mean(b)))
    assert one.difference.estimate == pytest.approx(np.mean(b) - np.mean(a))
    assert (one.difference.low, one.difference.high) == pytest.approx((reference.low, reference.high), abs=0.004)
    assert one.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_one_draw_a_problem_uses_the_exact_mcnemar_test() -> None:
    # 2 problems only A has right, 9 only B: 2 * P(X <= 2), X ~ Bin(11, 1/2) = 2 * 67 / 2048.
    a = [1.0] * 2 + [0.0] * 9 + [1.0] * 20 + [0.0] * 20
    b = [0.0] * 2 + [1.0] * 9 + [1.0] * 20 + [0.0] * 20
    (one,) = compare(evaluation(1, math=a), evaluation(1, math=b))
    assert one.mcnemar is not None
    assert (one.mcnemar.only_a, one.mcnemar.only_b, one.test) == (2, 9, "exact McNemar test")
    assert one.p_value == pytest.approx(2 * 67 / 2048)
    assert one.p_value == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert not one.real


@pytest.mark.parametrize("differing", range(9))
def test_no_p_value_is_below_what_a_sign_test_allows(differing: int) -> None:
    a, b = [0.5] * 20, [0.75] * differing + [0.5] * (20 - differing)
    (one,) = compare(evaluation(math=a), evaluation(math=b))
    floor = stats.binomtest(0, differing).pvalue if differing else 1.0
    assert one.p_value >= floor - 1e-12
    assert one.real == (differing >= 6)


def test_pairing_is_by_id_and_sees_what_independent_samples_would_not() -> None:
    rng = np.random.default_rng(3)
    a = list(rng.permutation([0.0] * 50 + [0.75] * 50))
    b = [value + 0.25 if i % 5 == 0 else value for i, value in enumerate(a)]
    shuffled = Evaluation(Path("b"), {"samples": 4}, {"math": dict(reversed([(str(i), v) for i, v in enumerate(b)]))})
    (one,) = compare(evaluation(math=a), shuffled)
    assert one.real
    assert one.differing == 20
    assert stats.ttest_ind(a, b).pvalue > 0.05, "the case would not need pairing"


def test_runs_without_a_difference_are_called_different_in_one_of_twenty() -> None:
    called = []
    for seed in range(40):
        a, b = noisy(60, 0.0, seed)
        called += [compare(evaluation(math=a), evaluation(math=b))[0].real]
    # P(Bin(40, 0.07) > 8) < 0.002; a one-sided test, or draws taken for problems, lands above.
    assert 1 <= sum(called) <= 8


def test_the_average_of_several_benchmarks_weighs_them_the_same() -> None:
    a1, b1 = noisy(40, 0.3, 1)
    a2, b2 = noisy(400, 0.0, 2)
    *_, average = compare(evaluation(small=a1, large=a2), evaluation(small=b1, large=b2))
    assert average.name == "average"
    assert average.difference.estimate == pytest.approx(((np.mean(b1) - np.mean(a1)) + (np.mean(b2) - np.mean(a2))) / 2)
    assert average.problems == 440


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1: 0.04, 0.06, 0.06 (0.06 or more), 0.5.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


def test_p_values_of_several_benchmarks_are_corrected() -> None:
    a, b = noisy(80, 0.1, 7)
    (alone,) = compare(evaluation(m1=a), evaluation(m1=b))
    same = {f"m{i}": a for i in range(1, 6)}
    five = compare(evaluation(**same), evaluation(**{**same, "m1": b}))
    assert five[0].p_value == pytest.approx(min(1.0, 5 * alone.p_value))


WORDS = [
    ([0.5] * 8, [0.5] * 8, "math: the runs score the same on each of the 8 problems."),
    (
        [0.25] * 40,
        [0.75] * 40,
        "math: B is better than A (+50.0 points, 95% interval +50.0 to +50.0, p = below 0.001, paired bootstrap, "
        "40 problems).",
    ),
    (
        [0.75] * 40,
        [0.25] * 40,
        "math: B is worse than A (-50.0 points, 95% interval -50.0 to -50.0, p = below 0.001, paired bootstrap, "
        "40 problems).",
    ),
    (
        [0.0] * 5,
        [1.0] * 5,
        "math: too few differences to tell (only 5 problems differ, at least 6 are needed; +100.0 points, "
        "95% interval +100.0 to +100.0, p = 0.062, paired bootstrap, 5 problems).",
    ),
    (
        [0.0] * 5,
        [0.0] * 4 + [1.0],
        "math: too few differences to tell (only 1 problem differs, at least 6 are needed; +20.0 points, ",
    ),
    (
        [0.0] * 10 + [1.0] * 10,
        [1.0] * 10 + [0.0] * 10,
        "math: no real difference is shown (+0.0 points, 95% interval -40.0 to +40.0, p = 1.000, paired bootstrap, "
        "20 problems); with these problems one below about 40.0 points would not show.",
    ),
]


@pytest.mark.parametrize(("a", "b", "words"), WORDS)
def test_what_is_said(a: list[float], b: list[float], words: str) -> None:
    (one,) = compare(evaluation(math=a), evaluation(math=b))
    assert one.in_words().startswith(words)
    assert one.real == (" than A" in words)


def test_caveats_name_other_settings_and_unpaired_problems() -> None:
    a = evaluation(settings={"sampling": {"temperature": 1.0}, "adapter": None, "seed": 0}, math=[1.0, 0.0], aime=[1.0])
    b = evaluation(settings={"sampling": {"temperature": 0.7}, "adapter": "lora", "seed": 1}, math=[1.0, 0.0, 1.0])
    assert caveats(a, b) == [
        "The runs also differ in sampling: the difference may come from there.",
        "math: 2 problems compared, 1 are in one run only.",
        "aime: 0 problems compared, 1 are in one run only.",
    ]
    assert caveats(a, a) == []


# The command, on folders as `evaluate` leaves them.


def folder(path: Path, accuracy: Mapping[str, Sequence[float]], samples: int = 4, **settings: Any) -> Path:
    path.mkdir()
    rows = [
        {
            "benchmark": name,
            "id": str(i),
            "draws": [{"outcome": "correct" if n < round(value * samples) else "wrong"} for n in range(samples)],
        }
        for name, values in accuracy.items()
        for i, value in enumerate(values)
    ]
    (path / "generations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = {"benchmarks": [], "average": None, "settings": {"samples": samples, **settings}}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def run(*args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["evaluate", *map(str, args)], env={"COLUMNS": "120"})
    return result.exit_code, result.output


def test_compare_prints_a_table_and_a_verdict(tmp_path: Path) -> None:
    a = folder(tmp_path / "a", {"math": [0.25] * 40, "aime": [0.5] * 20})
    b = folder(tmp_path / "b", {"math": [0.75] * 40, "aime": [0.5] * 20}, limit=3)
    code, output = run("--compare", a, b)
    assert code == 0, output
    assert "math: B is better than A (+50.0 points" in output
    assert "aime: the runs score the same on each of the 20 problems." in output
    assert "average: B is better than A (+25.0 points" in output
    assert "The runs also differ in limit: the difference may come from there." in output
    code, output = run("--compare", a, b, "--json")
    compared = json.loads(output)["comparisons"]
    assert [(one["name"], one["a"], one["b"], one["real"]) for one in compared] == [
        ("math", 0.25, 0.75, True),
        ("aime", 0.5, 0.5, False),
        ("average", 0.375, 0.625, True),
    ]


def test_bad_folders_are_one_line(tmp_path: Path) -> None:
    good = folder(tmp_path / "good", {"math": [1.0]})
    other = folder(tmp_path / "other", {"aime": [1.0]})
    torn = folder(tmp_path / "torn", {"math": [1.0]})
    (torn / "generations.jsonl").write_text('{"benchmark": "math", "id": "0", "draws": []}\n')
    alien = tmp_path / "alien"
    alien.mkdir()
    (alien / "summary.json").write_text("[]")
    missing = tmp_path / "missing"
    for pair, message in [
        ((good, missing), f"{missing}: no summary.json; not the folder of a finished `mindgap-data evaluate`"),
        ((good, other), f"{good} and {other}: no problem in common; evaluate both on the same benchmarks"),
        ((torn, good), f"{torn}/generations.jsonl:1: this is not a row of an evaluation"),
        ((alien, good), f"{alien}/summary.json: not the summary of an evaluation"),
    ]:
        assert run("--compare", *pair) == (2, f"Error: {message}\n")
