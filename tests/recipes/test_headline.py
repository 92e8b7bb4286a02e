"""The headline experiment: correct experts, fresh problems, choices and comparisons that say what they should."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from recipes.headline import compare, measure, report, run, tasks
from recipes.headline.plan import DATA, LOSSES, Arm, Plan, arms

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict
from mindgap_data.verify.numeric import NumericVerifier
from tiny import save_tiny_model

needs_gym = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("reasoning_gym") is None,
    reason="reasoning-gym is not installed: pip install 'mindgap[headline]'",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def result(
    greedy: dict[str, str], *, data: str = "all", loss: str = "sft", seed: int = 1, nll: float = 30.0, **more: Any
) -> compare.Result:
    files = {"trained": greedy, "untrained": greedy, "word": greedy}
    texts = [{"text": "story", "tokens": 10, "nll": nll, "kl": 0.5}, {"text": "own", "tokens": 5, "nll": 1, "kl": 2}]
    return compare.Result(data, loss, seed, files, {"trained": greedy}, texts, **more)


# --- tasks ---


@needs_gym
@pytest.mark.parametrize("family", tasks.FAMILIES)
def test_every_expert_is_right_and_marks_its_answer_as_the_prompt_asks(family: str) -> None:
    check = NumericVerifier()
    for row in tasks.mixed([family], 40, 3, set()):
        expert = row["messages"][-1]["content"]
        assert expert.endswith(f"The answer is {row['answer']}.")
        assert check(expert, row["answer"], row) is Verdict.CORRECT
        for formula in expert.split(r"\(")[1:]:
            sides = formula.split(r"\)")[0].replace(r"\times", "*").replace(r"\cdot", "*").split("=")
            assert len({eval(side) for side in sides}) == 1, expert


@needs_gym
def test_no_training_problem_is_a_test_or_development_problem(tmp_path: Path) -> None:
    experiment = run.Experiment(Plan.read(), "model", tmp_path)
    experiment.write_problems()
    asked = {}
    for path in (tmp_path / "problems").iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        asked[path.stem] = [row["messages"][-2]["content"] for row in rows]
        assert all(row["messages"][:3] == list(tasks.EXAMPLE) for row in rows)
    held_out = {question for name in ("trained", "untrained", "word", "dev") for question in asked[name]}
    assert len(held_out) == 60 + 30 + 35 + 48
    for seed in (1, 2, 3):
        assert len(set(asked[f"train-{seed}"])) == 60
        assert not held_out & set(asked[f"train-{seed}"])


def test_word_problems_are_no_bare_sums() -> None:
    questions = [row["messages"][-2]["content"] for row in tasks.word_problems()]
    assert len(questions) == 35
    assert not [question for question in questions if len(question.split()) < 9]


# --- plan ---


def test_the_main_comparisons_come_first_and_every_arm_once() -> None:
    order = arms(Plan.read())
    assert len(order) == len(set(order)) == 3 * len(DATA) * len(LOSSES)
    first = {(arm.data, arm.loss) for arm in order[:12]}
    assert first == {(data, loss) for data in ("expert", "all") for loss in ("sft", "paper")}


def test_on_expert_rows_is_and_paper_are_one_loss() -> None:
    options = pytest.importorskip("mindgap_loss.options", reason="the loss's options")
    ours = [options.LossOptions.model_validate({"preset": preset}).source("expert") for preset in ("is", "paper")]
    assert ours == ["dft", "dft"]
    assert Arm("expert", "is", 1).trained_loss == "paper"
    assert Arm("all", "is", 1).trained_loss == "is"


def test_a_plan_with_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text("rows: 3\n")
    with pytest.raises(UserError, match=rf"{path}: exactly these settings are wanted: batch_size, dev, max_tokens"):
        Plan.read(path)


# --- run ---


def test_each_loss_gets_the_rate_of_its_best_mean_over_both_files(tmp_path: Path) -> None:
    experiment = run.Experiment(Plan.read(), "model", tmp_path)
    right = {  # of 10 development problems, at the three rates
        ("expert", "sft"): (1, 2, 9),
        ("all", "sft"): (9, 9, 0),
        ("expert", "paper"): (5, 5, 5),
        ("all", "paper"): (5, 5, 5),
        ("all", "is"): (0, 0, 1),
    }
    (tmp_path / "results").mkdir()
    for (data, loss), scores in right.items():
        for rate, score in zip(experiment.plan.rates, scores, strict=True):
            one = {"data": data, "loss": loss, "rate": rate, "outcomes": "c" * score + "w" * (10 - score)}
            (tmp_path / "results" / f"search-{data}-{loss}-{rate:g}.json").write_text(json.dumps(one))
    low, middle, high = experiment.plan.rates
    # paper is a tie, which goes to the lowest; `is` on the expert's file is paper.
    assert experiment._choose_rates()["chosen"] == {"sft": middle, "paper": low, "is": high}


def test_a_job_is_done_once_and_not_while_another_holds_it(tmp_path: Path) -> None:
    import fcntl

    done: list[str] = []
    job = run.Job(tmp_path / "results" / "job.json", (), lambda: done.append("once") or {"n": 1})
    with (tmp_path / "job").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not run._do(job, tmp_path)
    assert run._do(job, tmp_path)
    assert run._do(job, tmp_path)
    assert done == ["once"]
    assert measure.read_json(job.result) == {"n": 1}


# --- measure ---


def test_distances_are_the_float64_ones_and_nothing_to_itself(model: Path, tmp_path: Path) -> None:
    other = save_tiny_model(tmp_path / "other", sharpness=1.3)
    texts = [("story", [1, 5, 9, 30, 2], 1), ("own", [7, 7, 8, 100, 3, 4], 4)]
    itself = measure.distances(str(model), None, texts, tmp_path / "base.pt")
    assert [one["kl"] for one in itself] == [0, 0]
    found = measure.distances(str(other), None, texts, tmp_path / "base.pt")
    for one, (_, ids, start) in zip(found, texts, strict=True):
        p, q = (
            transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)(torch.tensor([ids]))
            .logits[0, start - 1 : -1]
            .log_softmax(-1)
            for path in (model, other)
        )
        assert one["tokens"] == len(ids) - start
        assert one["kl"] == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-4)
        nll = -sum(float(q[n, token]) for n, token in enumerate(ids[start:]))
        assert one["nll"] == pytest.approx(nll, abs=1e-3)


def test_outcomes_are_a_letter_a_draw(model: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    plan = replace(Plan.read(), max_tokens=8)
    problems = tmp_path / "few.jsonl"
    rows = tasks.word_problems()[:2]
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = measure.evaluate(plan, str(model), None, [problems], tmp_path / "out", samples=3)
    assert list(found) == ["few"]
    assert list(found["few"]) == [row["id"] for row in rows]
    assert all(len(letters) == 3 and set(letters) <= set("cwnt") for letters in found["few"].values())


def test_training_figures_weigh_logs_by_tokens_and_leave_out_absent_tiers() -> None:
    log = [
        {"loss": 1, "mindgap/self/tokens": 10, "mindgap/self/ess": 0.5, "mindgap/self/nll": 1.0},
        {"loss": 1, "mindgap/self/tokens": 30, "mindgap/self/ess": 0.9, "mindgap/self/nll": 3.0},
        {"train_runtime": 3},
    ]
    assert measure.training_figures(log) == {"self": {"tokens": 40, "ess": pytest.approx(0.8), "nll": 2.5}}


# --- compare ---


def test_verdicts_follow_the_direction_that_is_better() -> None:
    before = [result({f"p{n}": "w" for n in range(40)}, loss="sft", nll=30.0)]
    after = [result({f"p{n}": "c" if n < 20 else "w" for n in range(40)}, loss="paper", nll=40.0)]
    gain = compare.compare(before, after, compare.PRIMARY)
    assert (gain.word, gain.difference.estimate, gain.units) == ("better", 0.5, 40)
    assert compare.compare(after, before, compare.PRIMARY).word == "worse"
    assert compare.compare(before, before, compare.PRIMARY).word == "not told apart"
    # One text differs: no test of one unit can tell.
    assert compare.compare(before, after, compare.NLL).word == "not told apart"


def test_seeds_are_pooled_by_problem_and_shown_apart() -> None:
    before = [result({"a": "w", "b": "c"}, seed=1), result({"a": "w", "b": "c"}, seed=2)]
    after = [result({"a": "c", "b": "c"}, seed=1), result({"a": "w", "b": "w"}, seed=2)]
    assert compare.pooled(after, compare.PRIMARY) == {"a": 0.5, "b": 0.5}
    verdict = compare.compare(before, after, compare.PRIMARY)
    assert verdict.by_seed == (0.5, -0.5)
    assert verdict.difference.estimate == 0


def test_accuracy_among_answers_leaves_out_what_states_none() -> None:
    among = compare.ANSWERS.of(result({"a": "cnt", "b": "tt", "c": "cw"}))
    assert among == {"a": 1.0, "c": 0.5}
    silent = [result({"a": "t", "b": "t"})]
    assert compare.compare(silent, silent, compare.ANSWERS).word == "not told apart"


def test_a_table_of_many_comparisons_is_corrected() -> None:
    before = [result({f"p{n}": "w" for n in range(40)})]
    after = [result({f"p{n}": "c" if n < 7 else "w" for n in range(40)})]
    alone = compare.compare(before, after, compare.PRIMARY)
    assert alone.p_value < 0.05
    assert [one.word for one in compare.corrected([alone] * 9)] == ["not told apart"] * 9


# --- report ---


def test_tables_go_between_their_marks_and_a_second_time_too(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- one -->\n<!-- end -->\n\nProse.\n\n<!-- two -->\nold\n<!-- end -->\n")
    for _ in range(2):
        report.write_tables(page, {"one": "| 1 |\n", "two": "| 2 |\n"})
    assert page.read_text() == (
        "# Page\n\n<!-- one -->\n\n| 1 |\n\n<!-- end -->\n\nProse.\n\n<!-- two -->\n\n| 2 |\n\n<!-- end -->\n"
    )
    with pytest.raises(UserError) as error:
        report.write_tables(page, {"three": ""})
    assert str(error.value.message) == (
        f"{page}: there is no place for the table three: <!-- three --> and <!-- end -->"
    )


def test_differences_of_accuracy_are_points_and_of_nll_are_nats() -> None:
    before = [result({"a": "w", "b": "w"}, data="expert", nll=30.0)]
    after = [result({"a": "c", "b": "w"}, nll=32.0)]
    rows = report.comparison_table([compare.compare(before, after, one) for one in (compare.PRIMARY, compare.NLL)])
    first, second = rows.splitlines()[2:]
    assert "| expert, sft → all, sft | +50.0 (" in first
    assert "| +0.200 (+0.200 to +0.200) | +0.200 |" in second


def test_numbers_that_are_missing_are_dashes() -> None:
    assert report.number(None) == "–"
    assert report.number(math.pi) == "3.14"


def test_the_page_shows_the_results_that_are_kept() -> None:
    page = run.PAGE.read_text(encoding="utf-8")
    for name, content in report.tables(report.Results.read(run.RESULTS)).items():
        assert f"<!-- {name} -->\n\n{content}\n<!-- end -->" in page, f"{name}: make headline writes the page afresh"
