"""The grid's recipes and tables: what every cell must share, what must differ, what is refused."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from mindgap_data.errors import UserError

FOLDER = Path(__file__).parents[2] / "recipes" / "grid"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grid_run", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["grid_run"] = module
    spec.loader.exec_module(module)
    return module


grid = load()
BASE = {"base_model": "m", "plugins": ["other.Plugin"], "learning_rate": 0.1}


def cells(tmp_path: Path) -> list[Any]:
    return [grid.Cell(data, preset, tmp_path / f"{data}-{preset}") for data in grid.DATA for preset in grid.PRESETS]


def test_recipes_differ_in_data_loss_and_folders_alone(tmp_path: Path) -> None:
    recipes = [grid.cell_recipe(BASE, cell, tmp_path / f"{cell.data}.jsonl") for cell in cells(tmp_path)]
    assert len(recipes) == 12
    for recipe in recipes:
        assert {name: recipe[name] for name in BASE if name != "plugins"} == {"base_model": "m", "learning_rate": 0.1}
        assert recipe["plugins"] == ["other.Plugin", "mindgap_axolotl.MindGapPlugin"]
        assert set(recipe) == {*BASE, *grid.OWN}
    losses = {json.dumps([recipe["datasets"], recipe["mindgap"]]) for recipe in recipes}
    assert len(losses) == 12, "each cell is another pair of data and loss"
    assert len({recipe["output_dir"] for recipe in recipes}) == 12
    assert len({recipe["dataset_prepared_path"] for recipe in recipes}) == 12


def test_the_presets_are_the_plugins(tmp_path: Path) -> None:
    options = pytest.importorskip("mindgap_loss.options", reason="the plugin's options need no Axolotl, only pydantic")
    for preset in grid.PRESETS:
        assert options.LossOptions.model_validate({"preset": preset}).preset == preset


def test_the_shipped_base_recipe_is_one() -> None:
    recipe = grid.read_base(FOLDER / "base.yaml")
    assert recipe["base_model"] == "Qwen/Qwen2.5-1.5B-Instruct"
    assert isinstance(recipe["learning_rate"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate: 1\n", "{base}: the recipe names no base_model"),
        ("- a\n", "{base}: the recipe names no base_model"),
        (
            "base_model: m\nmindgap: {preset: is}\noutput_dir: x\n",
            "{base}: the grid sets mindgap, output_dir itself; remove it from the base recipe",
        ),
        (
            "a: [1\n",
            '{base}: the recipe cannot be read: while parsing a flow sequence in "<unicode string>", line 1, column 4: '
            "a: [1 ^ expected ',' or ']', but got '<stream end>' in \"<unicode string>\", line 2, column 1: ^",
        ),
        (None, "{base}: the recipe cannot be read: [Errno 2] No such file or directory: '{base}'"),
    ],
)
def test_a_wrong_base_recipe_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "base.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        grid.read_base(path)
    assert caught.value.message == message.format(base=path)


def test_unknown_cells_are_named() -> None:
    assert grid.chosen("expert, all", grid.DATA, "--data") == ["expert", "all"]
    with pytest.raises(UserError) as caught:
        grid.chosen("sft,dpo", grid.PRESETS, "--presets")
    assert caught.value.message == "--presets sft,dpo: dpo is unknown; name some of sft, paper, is"


def test_a_trained_cell_is_kept_and_another_recipe_for_it_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(grid, "run_program", lambda command, log: commands.append(list(command)))
    data = tmp_path / "all.jsonl"
    data.write_text("{}\n")
    cell = grid.Cell("all", "is", tmp_path / "all-is")
    recipe = grid.cell_recipe(BASE, cell, data)
    for _ in range(2):
        grid.train(cell, recipe, "python")
    assert commands == [["axolotl", "train", str(cell.recipe), "--launcher", "python"]]
    assert yaml.safe_load(cell.recipe.read_text()) == recipe
    message = f"{cell.folder}: was trained with another recipe or other data; choose another -o or remove it"
    with pytest.raises(UserError) as caught:
        grid.train(cell, {**recipe, "learning_rate": 0.2}, "python")
    assert caught.value.message == message
    data.write_text('{"changed": 1}\n')
    with pytest.raises(UserError) as caught:
        grid.train(cell, recipe, "python")
    assert caught.value.message == message


def interval(estimate: float) -> dict[str, float]:
    return {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}


def test_the_table() -> None:
    def row(data: str, loss: str, estimate: float, real: bool, better: bool | None) -> dict[str, Any]:
        return {
            "data": data,
            "loss": loss,
            "accuracy": interval(estimate),
            "against_untrained": {"real": real},
            "against_first": None if better is None else {"real": better},
        }

    table = {
        "untrained": {"accuracy": interval(0.2)},
        "first": {"data": "expert", "loss": "sft"},
        "cells": [
            row("expert", "sft", 0.3, False, None),
            row("expert", "is", 0.4, True, False),
            row("all", "is", 0.5, True, True),
        ],
    }
    assert grid.markdown(table) == (
        "| training data | sft | is |\n"
        "| --- | --- | --- |\n"
        "| expert | 30.0 (20.0 to 40.0) | 40.0 (30.0 to 50.0)\\* |\n"
        "| all |  | 50.0 (40.0 to 60.0)\\*\\+ |\n"
        "\n"
        "Accuracy in per cent, 95% interval over problems; untrained: 20.0 (10.0 to 30.0).\n"
        "\\* differs from the untrained model, \\+ from expert with sft (paired bootstrap over problems, p < 0.05, "
        "each cell by itself).\n"
    )
