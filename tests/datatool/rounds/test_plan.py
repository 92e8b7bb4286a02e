"""A plan is checked with all it names before anything runs; what is wrong is one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mindgap_data.commands import main
from mindgap_data.rounds.plan import PLUGIN, STRATEGY, round_recipe

RECIPE = {"base_model": "org/model", "plugins": [PLUGIN], "adapter": "lora", "learning_rate": 0.1}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user whose plan is good."""
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"problem": "1 + 1?", "solution": "#### 2"}\n')
    Path("bench.jsonl").write_text('{"problem": "2 + 2?", "answer": "4"}\n')
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def rounds(**changes: Any) -> Any:
    """What the command says to a plan."""
    plan = {"input": "in.jsonl", "recipe": "recipe.yaml", "benchmarks": ["bench.jsonl"], "output": "out", **changes}
    text = yaml.safe_dump({name: value for name, value in plan.items() if value is not ...}, sort_keys=False)
    Path("plan.yaml").write_text(text)
    return CliRunner().invoke(main, ["rounds", "plan.yaml"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"steps": 3},
            "plan.yaml:6: steps: no such field; a plan has input, recipe, benchmarks, output, rounds, model, "
            "keep_within, launcher, rewrite, evaluate",
        ),
        ({"recipe": ...}, "plan.yaml:1: recipe: missing"),
        ({"rounds": 0}, "plan.yaml:6: rounds: input should be greater than or equal to 1"),
        ({"benchmarks": []}, "plan.yaml:3: benchmarks: list should have at least 1 item after validation, not 0"),
        ({"recipe": "none.yaml"}, "none.yaml: the recipe cannot be read: No such file or directory"),
        ({"input": "inn.jsonl"}, "inn.jsonl: no such file; did you mean in.jsonl?"),
        ({"benchmarks": ["bench.json"]}, "bench.json: no such file; did you mean bench.jsonl?"),
        (
            {"model": "org/other"},
            "plan.yaml:6: model: org/other is not the base_model of recipe.yaml, org/model; leave it out",
        ),
        (
            {"rewrite": {"sample": 8}},
            "plan.yaml: rewrite.sample: `mindgap-data rewrite` has no option --sample",
        ),
        (
            {"rewrite": {"adapter": "x"}},
            "plan.yaml: rewrite.adapter: the rounds set --adapter themselves; remove it",
        ),
        (
            {"evaluate": {"samples": "many"}},
            "plan.yaml: evaluate: Invalid value for '--samples': 'many' is not a valid integer range.",
        ),
        (
            {"rewrite": {"engine": "openai"}},
            "plan.yaml: rewrite.engine: a server does not follow the policy as it is trained; use transformers or vllm",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_plan_is_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    result = rounds(**changes)
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"plugins": []},
            f"recipe.yaml: plugins lacks {PLUGIN}, so the rows would train without their weights; add it",
        ),
        (
            {"datasets": [{"path": "a", "type": STRATEGY}, {"path": "b", "type": STRATEGY}]},
            f"recipe.yaml: several datasets have type: {STRATEGY}; a round trains on one, its own",
        ),
    ],
    ids=["plugins", "datasets"],
)
def test_a_recipe_that_cannot_train_a_round_is_one_line(folder: Path, changes: dict[str, Any], message: str) -> None:
    Path("recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))
    result = rounds()
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "plan.yaml: the plan cannot be read: No such file or directory"),
        ("- a\n", "plan.yaml: the plan is not a YAML mapping of fields"),
        ("a: [1\n", "plan.yaml:2: the plan is not YAML: expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_a_plan_that_is_no_mapping_is_one_line(folder: Path, text: str | None, message: str) -> None:
    if text is not None:
        Path("plan.yaml").write_text(text)
    result = CliRunner().invoke(main, ["rounds", "plan.yaml"], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_a_linked_copy_of_the_base_model_is_the_same_model(folder: Path) -> None:
    Path("copy").mkdir()
    Path("link").symlink_to("copy")
    Path("recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "base_model": "link"}))
    assert "is not the base_model" not in rounds(model="copy", rewrite={"sample": 1}).stderr


def test_a_round_trains_on_its_own_file_beside_the_other_datasets_from_where_the_last_one_ended() -> None:
    plain = {"path": "sft.jsonl", "type": "chat_template"}
    recipe = {
        **RECIPE,
        "revision_of_model": "main",
        "datasets": [plain, {"path": "old.jsonl", "type": STRATEGY, "chat_template": "chatml"}],
        "output_dir": "elsewhere",
    }
    folders = (Path("r/rewritten.jsonl"), Path("r/model"), Path("r/prepared"))
    first = round_recipe(recipe, *folders, start={})
    assert first == {
        **recipe,
        "datasets": [plain, {"path": "r/rewritten.jsonl", "type": STRATEGY, "chat_template": "chatml"}],
        "output_dir": "r/model",
        "dataset_prepared_path": "r/prepared",
    }
    second = round_recipe(recipe, *folders, start={"lora_model_dir": "q/model"})
    assert second == {**first, "lora_model_dir": "q/model"}
    full = round_recipe(recipe, *folders, start={"base_model": "q/model"})
    assert full == {name: value for name, value in first.items() if name != "revision_of_model"} | {
        "base_model": "q/model"
    }
    assert round_recipe(RECIPE, *folders, start={})["datasets"] == [{"path": "r/rewritten.jsonl", "type": STRATEGY}]
