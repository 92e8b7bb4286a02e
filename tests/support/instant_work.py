"""A rewriting run over the engine that answers at once, as a cluster's replicas are given it."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from characters import Characters, InstantEngine
from mindgap_data.engines import Engine, Sampling
from mindgap_data.engines.open import EngineSettings, Policy
from mindgap_data.policy.models import ModelSpec
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.job import RewriteRequest
from mindgap_data.rewrite.stages import RewriteOptions
from mindgap_data.rows.inputs import InputRows
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.sources import open_source
from mindgap_data.verify.settings import VerifierSettings


@dataclass(frozen=True)
class InstantRequest(RewriteRequest):
    """A request whose engine answers every problem about a number below 5 with that number, the others with 0."""

    def engine(self, quiet: bool) -> AbstractContextManager[Engine]:
        engine: Any = InstantEngine(_answer)
        return nullcontext(engine)

    def tokenizer(self) -> Any:
        return Characters()


def instant_request(source: Path) -> InstantRequest:
    options = RewriteOptions(("self", "expert"), 2, "first", (GuidedPrompt(),), score_expert=True, seed=5)
    return InstantRequest(
        rows=InputRows(open_source(str(source)), Fields()),
        policy=Policy(ModelSpec(), EngineSettings()),
        sampling=Sampling(),
        verifier=VerifierSettings("numeric", workers=1),
        options=options,
    )


def write_numbers(path: Path, count: int = 12) -> Path:
    """Problems about numbers, the third of them twice, and a line that is none."""
    rows = [json.dumps({"id": f"r{n}", "problem": f"The number {n}?", "solution": f"#### {n}"}) for n in range(count)]
    path.write_text("\n".join([*rows[:5], "not json", rows[2], *rows[5:]]) + "\n")
    return path


def _answer(prompt: str) -> str:
    number = int(prompt.rsplit("number ", 1)[1].split("?")[0])
    return f"It is {number if number < 5 else 0}"
