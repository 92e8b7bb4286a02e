"""The plan of `mindgap-data rounds`: one YAML file, checked against its recipe before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mindgap_data.errors import UserError
from mindgap_data.policy.models import resolve_model_path
from mindgap_data.policy.recipe import read_recipe
from mindgap_data.rewrite.previous import KEEP_WITHIN
from mindgap_data.rows.sources import open_source
from mindgap_data.yaml_file import YamlFile

PLUGIN = "mindgap_axolotl.MindGapPlugin"
STRATEGY = "mindgap_axolotl.chat_template"

Value = bool | int | float | str | list[bool | int | float | str]


class RoundsPlan(BaseModel):
    """What to do. Paths are relative to the working folder, as in Axolotl's recipes."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    input: str = Field(description="the demonstrations, as `rewrite` takes them")
    recipe: Path = Field(description="Axolotl recipe: the model, and how every round trains it")
    benchmarks: list[str] = Field(
        min_length=1, description="files of problems to evaluate on, as `evaluate` takes them"
    )
    output: Path = Field(description="folder of the rounds")
    rounds: int = Field(2, ge=1, description="how many; a finished plan goes on when it is raised")
    model: str | None = Field(
        None, description="another name of the recipe's base_model to draw with, for instance that of a local copy"
    )
    keep_within: float = Field(KEEP_WITHIN, ge=1, description="`rewrite --keep-within`, from the second round on")
    launcher: Literal["accelerate", "torchrun", "python"] = Field(
        "accelerate", description="Axolotl's launcher; python on a CPU"
    )
    rewrite: dict[str, Value] = Field(
        default_factory=dict, description="further options of `rewrite` by name, as in `{samples: 8}`"
    )
    evaluate: dict[str, Value] = Field(default_factory=dict, description="further options of `evaluate`")


@dataclass(frozen=True)
class CheckedPlan:
    """A plan that can run."""

    path: Path
    plan: RoundsPlan
    recipe: Mapping[str, Any]  # as the YAML says

    def settings(self) -> dict[str, Any]:
        """What every round of one folder has in common; JSON values."""
        plan = self.plan
        return {
            "input": open_source(plan.input).fingerprint,
            "recipe": sha256(yaml.safe_dump(dict(self.recipe)).encode()).hexdigest()[:16],
            "benchmarks": {name: open_source(name).fingerprint for name in plan.benchmarks},
            **plan.model_dump(include={"model", "keep_within", "rewrite", "evaluate"}),
        }


def read_plan(path: Path) -> CheckedPlan:
    """Read a plan and what it names.

    Raises:
        UserError: a field, its recipe or a file is wrong; names file:line and the field.
    """
    document = YamlFile(path, "plan")
    try:
        plan = RoundsPlan.model_validate(document.values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"][:2]))
        raise document.error(field, _problem(first)) from None
    trained = read_recipe(plan.recipe)
    recipe = yaml.safe_load(plan.recipe.read_text(encoding="utf-8"))
    if plan.model is not None and not _same_model(plan.model, trained.base_model):
        raise document.error(
            "model", f"{plan.model} is not the base_model of {plan.recipe}, {trained.base_model}; leave it out"
        )
    if PLUGIN not in (recipe.get("plugins") or []):
        raise UserError(f"{plan.recipe}: plugins lacks {PLUGIN}, so the rows would train without their weights; add it")
    if len(_own_datasets(recipe)) > 1:
        raise UserError(f"{plan.recipe}: several datasets have type: {STRATEGY}; a round trains on one, its own")
    for name in [plan.input, *plan.benchmarks]:
        open_source(name)
    return CheckedPlan(path, plan, recipe)


def round_recipe(
    recipe: Mapping[str, Any], data: Path, output: Path, prepared: Path, start: Mapping[str, str]
) -> dict[str, Any]:
    """The recipe of one round: that of the plan with the round's data and folders, from where the last round ended.

    Args:
        recipe: the plan's.
        data: the rewritten file, in place of the data set of the plugin's type; others stay.
        output: where the adapter or model goes.
        prepared: folder of Axolotl's prepared data.
        start: lora_model_dir or base_model of the round before; empty in the first.
    """
    entries: list[dict[str, Any]] = list(recipe.get("datasets") or [])
    own = _own_datasets(recipe)
    if not own:
        entries.append({"path": str(data), "type": STRATEGY})
    datasets = [{**entry, "path": str(data)} if entry in own else entry for entry in entries]
    made = {**recipe, "datasets": datasets, "output_dir": str(output), "dataset_prepared_path": str(prepared), **start}
    if "base_model" in start:
        made.pop("revision_of_model", None)
    return made


def _own_datasets(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in recipe.get("datasets") or [] if entry.get("type") == STRATEGY]


def _same_model(name: str, base_model: str) -> bool:
    """Whether two names are of the same model: equal, or links to one folder."""
    return name == base_model or Path(resolve_model_path(name)).resolve() == Path(base_model).resolve()


def _problem(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return f"no such field; a plan has {', '.join(RoundsPlan.model_fields)}"
    if error["type"] == "missing":
        return "missing"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"
