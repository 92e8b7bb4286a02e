"""Drives the procedure of one problem by hand: no engine, no scheduler."""

from collections.abc import Callable, Sequence

from characters import Characters
from mindgap_data.engines import Request, Sampling, Score, Scores
from mindgap_data.record import Provenance, Record
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.stages import Plan, RewriteOptions, rewrite_problem
from mindgap_data.rows.problem import Problem
from mindgap_data.run.outcomes import Attempt, Outcome
from mindgap_data.run.scheduler import Ask

TOKENIZER = Characters()
PROVENANCE = Provenance(
    schema_version=1,
    tool_version="0",
    model="m",
    engine="e",
    tokenizer="t",
    chat_template="c",
    sampling={},
    selection="first",
    verifier="math",
    seed=0,
)


def problem(**changes: object) -> Problem:
    row = {
        "id": "p",
        "messages": ({"role": "user", "content": "6 x 7?"},),
        "expert": "It is 42.",
        "answer": "42",
        "row": {},
        "extra": {"source": "here"},
    }
    return Problem(**{**row, **changes})  # type: ignore[arg-type]


def plan(sampling: Sampling | None = None, context: int = 4096, sequence_len: int = 4096, **options: object) -> Plan:
    wanted = {
        "stages": ("self", "guided", "expert"),
        "samples": 2,
        "picker": "first",
        "guided": (GuidedPrompt(),),
        "score_expert": False,
        "seed": 0,
    }
    asked = RewriteOptions(**{**wanted, **options})  # type: ignore[arg-type]
    return Plan(asked, TOKENIZER, sampling or Sampling(), context, sequence_len, PROVENANCE)  # type: ignore[arg-type]


def drawn(verdict: str, text: str = "42") -> Attempt:
    ids = TOKENIZER.response_ids(text)
    return Attempt(verdict, len(ids), text, ids, (-0.25,) * len(ids))  # type: ignore[arg-type]


def half_a_nat(ids: Sequence[int]) -> tuple[float, ...]:
    """The policy of most tests."""
    return (-0.5,) * len(ids)


def drive(
    one: Problem,
    how: Plan,
    outcomes: Sequence[Outcome],
    policy: Callable[[Sequence[int]], tuple[float, ...]] = half_a_nat,
) -> tuple[Record, list[Request]]:
    """Run the procedure on draws with these outcomes, scored by ``policy``. Returns the record and the requests."""
    steps, left, asked = rewrite_problem(one, how), list(outcomes), list[Request]()
    answers: list[Outcome] | None = None
    while True:
        try:
            ask = steps.send(answers)  # type: ignore[arg-type]
        except StopIteration as stop:
            assert not left, "the procedure did not ask for every draw"
            return stop.value, asked
        requests = ask.requests if isinstance(ask, Ask) else ask
        asked += requests
        answers = [
            Scores(policy(request.response_ids)) if isinstance(request, Score) else left.pop(0) for request in requests
        ]
