"""What a recipe may say: the ``mindgap:`` block, checked by pydantic, and its place in Axolotl's own arguments."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mindgap_data.checks.thresholds import AlarmThresholds
from mindgap_loss.options import LossOptions


class AlarmOptions(AlarmThresholds):
    """When the run warns, and whether it stops."""

    noise: str | None = Field(
        default=None,
        description="file that `mindgap-data noise` wrote: its floor is shown beside a low ESS/N, and a level below it "
        "is named as training starts",
    )
    stop: bool = Field(default=False, description="stop the run, with a checkpoint, when an alarm has lasted")
    patience: int = Field(default=3, ge=1, description="logs in a row an alarm must last before `stop` acts")


class RefreshOptions(BaseModel):
    """How a worker draws the rows again while the run trains (`mindgap-data refresh`)."""

    model_config = ConfigDict(extra="forbid")

    folder: str = Field(description="folder that the run shares with the worker; one of its own for each run")
    every: int = Field(default=50, ge=1, description="publish the adapter every so many steps")
    max_staleness: int = Field(
        default=200,
        ge=1,
        description="most steps between the policy that drew a row and the step it is trained at: training waits for "
        "the worker before a row gets older; at least `every`",
    )
    wait: float = Field(
        default=600.0,
        ge=0,
        description="seconds without new rows after which training goes on with the rows it has, and warns",
    )

    @model_validator(mode="after")
    def _can_be_kept(self) -> "RefreshOptions":
        if self.max_staleness < self.every:
            raise ValueError(
                f"max_staleness: {self.max_staleness} cannot be kept with every: {self.every}, since there is no newer "
                "adapter to draw with; raise it, or publish more often"
            )
        return self


class MindGapOptions(LossOptions):
    """The whole ``mindgap:`` block: the loss, the alarms, refreshing and one exception."""

    alarms: AlarmOptions = Field(default_factory=AlarmOptions, description="when to warn, and whether to stop")
    refresh: RefreshOptions | None = Field(
        None, description="draw the rows again while training; see [refreshing](refresh.md)"
    )
    allow_other_model: bool = Field(
        False,
        description="train another model, or another adapter, than the one the rows were rewritten for; "
        "the tokenizer and the chat template must be the recorded ones all the same",
    )


class MindGapArgs(BaseModel):
    """Mixed into Axolotl's configuration."""

    mindgap: MindGapOptions | None = Field(None, description="options of the importance-weighted loss")
    mindgap_fingerprint: str | None = Field(
        None, description="set by the plugin: contents of the local data files, so that a changed file is prepared anew"
    )


@dataclass
class MindGapTrainingArgsMixin:
    """Mixed into Axolotl's training arguments."""

    mindgap: dict[str, Any] | None = None


def options_of(cfg: Any) -> MindGapOptions:
    """The checked ``mindgap:`` block of an Axolotl configuration."""
    return MindGapOptions.model_validate(plain(cfg.get("mindgap") or {}))


def plain(value: Any) -> Any:
    """Axolotl's dictionaries and pydantic models as plain dictionaries."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_none=True)
    return value.to_dict() if hasattr(value, "to_dict") else value
