"""General text in several registers, shipped with the package: what a model should not get worse at."""

import json
from dataclasses import dataclass
from importlib.resources import files

_DATA = files("mindgap_data.evaluation").joinpath("data")


@dataclass(frozen=True)
class GeneralText:
    """A short text; where it is from and its licence stand in the data file."""

    id: str
    register: str  # "news", "code", "other-language", ...
    text: str


@dataclass(frozen=True)
class TextScore:
    """How likely a policy finds a text."""

    id: str
    register: str
    nll: float  # summed, nats
    tokens: int

    @property
    def per_token(self) -> float:
        """NLL per token, nats."""
        return self.nll / self.tokens


def general_texts() -> tuple[GeneralText, ...]:
    """The shipped texts."""
    lines = _DATA.joinpath("general_texts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = map(json.loads, lines)
    return tuple(GeneralText(row["id"], row["register"], row["text"]) for row in rows)


def instructions_path() -> str:
    """The shipped file of prompts whose instructions the verifier `instructions` checks."""
    return str(_DATA.joinpath("instructions.jsonl"))


def instruction_prompts() -> tuple[str, ...]:
    """The prompts of that file."""
    lines = _DATA.joinpath("instructions.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line)["prompt"] for line in lines)
