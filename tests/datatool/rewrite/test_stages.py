"""What happens to one problem, step by step: its procedure is driven by hand, no engine, no scheduler."""

from collections.abc import Sequence

import pytest

from characters import Characters
from mindgap_data.engines import Draw, Failure, Request, Sampling, Score, Scores
from mindgap_data.record import Provenance, Record
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.stages import Plan, RewriteOptions, rewrite_problem
from mindgap_data.rows.problem import Problem
from mindgap_data.rows.values import RowError
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
        "guided": GuidedPrompt(),
        "score_expert": False,
        "seed": 0,
    }
    asked = RewriteOptions(**{**wanted, **options})  # type: ignore[arg-type]
    return Plan(asked, TOKENIZER, sampling or Sampling(), context, sequence_len, PROVENANCE)  # type: ignore[arg-type]


def drawn(verdict: str, text: str = "42") -> Attempt:
    ids = TOKENIZER.response_ids(text)
    return Attempt(verdict, len(ids), text, ids, (-0.25,) * len(ids))  # type: ignore[arg-type]


def drive(one: Problem, how: Plan, outcomes: Sequence[Outcome]) -> tuple[Record, list[Request]]:
    """Run the procedure on draws with these outcomes; scores are -0.5 a token. Returns the record and the requests."""
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
            Scores((-0.5,) * len(request.response_ids)) if isinstance(request, Score) else left.pop(0)
            for request in requests
        ]


def test_the_first_correct_draw_is_kept_and_no_more_are_asked_for() -> None:
    record, asked = drive(problem(), plan(samples=4), [drawn("wrong", "41"), drawn("correct")])
    assert (record.tier, record.messages[-1].content) == ("self", "42")
    assert [request.key for request in asked] == ["p/self/0", "p/self/1"]
    assert record.attempts.self_ is not None
    assert (record.attempts.self_.sampled, record.attempts.self_.wrong, record.attempts.self_.correct) == (2, 1, 1)
    assert record.attempts.pass_rate == 0.5
    # Drawn from the model's own distribution, the behaviour policy is the policy: nothing is scored.
    assert record.policy_logprobs == record.behavior_logprobs == [-0.25] * 3
    assert (record.provenance.behavior, record.provenance.behavior_prompt) == ("model", "plain")
    assert record.model_extra == {"source": "here"}


def test_at_another_temperature_the_policy_scores_what_was_drawn() -> None:
    record, asked = drive(problem(), plan(Sampling(temperature=0.7)), [drawn("correct")])
    assert [type(request) for request in asked] == [Draw, Score]
    assert (record.behavior_logprobs, record.policy_logprobs) == ([-0.25] * 3, [-0.5] * 3)
    assert record.provenance.behavior == "processed"


def test_guided_draws_follow_when_the_cap_is_reached_and_are_scored_under_the_plain_prompt() -> None:
    outcomes = [drawn("wrong"), drawn("truncated"), drawn("correct", "So it is 42")]
    record, asked = drive(problem(), plan(), outcomes)
    assert (record.tier, record.provenance.behavior_prompt) == ("guided", "guided")
    assert isinstance(asked[2], Draw)
    assert "It is 42." in TOKENIZER.decode(asked[2].prompt_ids)
    assert isinstance(asked[3], Score)
    assert asked[3].prompt_ids == asked[0].prompt_ids
    assert record.attempts.pass_rate == 0


def test_a_guided_response_that_mentions_the_teacher_is_counted_as_leaked_and_not_kept() -> None:
    leak = drawn("correct", "As the teacher says, 42")
    record, _ = drive(problem(), plan(samples=1), [drawn("no_answer"), leak])
    assert record.tier == "expert"
    assert record.attempts.guided is not None
    assert (record.attempts.guided.leaked, record.attempts.guided.correct) == (1, 0)


def test_the_expert_is_left_when_nothing_is_correct() -> None:
    record, asked = drive(problem(), plan(samples=1, score_expert=True), [drawn("wrong"), drawn("checker_error")])
    assert (record.tier, record.messages[-1].content, record.behavior_logprobs) == ("expert", "It is 42.", None)
    assert record.response_token_ids == record.expert_token_ids == list(TOKENIZER.response_ids("It is 42."))
    assert record.policy_logprobs == record.expert_logprobs
    assert sum(isinstance(request, Score) for request in asked) == 1, "the expert's text is scored once"


def test_shortest_draws_all_and_takes_the_shortest_correct_one() -> None:
    outcomes = [drawn("correct", "It is 42"), drawn("correct", "42")]
    record, asked = drive(problem(), plan(picker="shortest"), outcomes)
    assert (len(asked), record.messages[-1].content) == (2, "42")


def test_the_training_length_does_not_shorten_the_guided_prompt() -> None:
    _, asked = drive(problem(), plan(samples=1, sequence_len=40), [drawn("wrong"), drawn("correct")])
    guided = asked[1]
    assert isinstance(guided, Draw)
    assert len(guided.prompt_ids) > 40, "the guided prompt alone is longer than the training length"
    assert guided.max_tokens == 40 - len(asked[0].prompt_ids), "only the plain prompt and the response must fit it"


def test_the_engines_context_bounds_the_guided_prompt_and_its_response() -> None:
    _, asked = drive(problem(), plan(samples=1), [drawn("wrong"), drawn("correct")])
    length = len(asked[1].prompt_ids)
    _, asked = drive(problem(), plan(samples=1, context=length + 5), [drawn("wrong"), drawn("correct")])
    assert isinstance(asked[1], Draw)
    assert asked[1].max_tokens == 5


def test_a_request_that_is_not_served_costs_no_row_its_expert() -> None:
    record, _ = drive(problem(), plan(), [Failure("busy"), drawn("wrong"), Failure("busy"), Failure("busy")])
    assert record.tier == "expert"
    assert record.attempts.self_ is not None
    assert (record.attempts.self_.sampled, record.attempts.self_.unserved) == (1, 1)


@pytest.mark.parametrize(
    ("how", "outcomes", "reason"),
    [
        (plan(sequence_len=8), [], "the prompt is 13 tokens long, the context holds 8"),
        (plan(stages=("self",), samples=1), [drawn("wrong")], "no correct response in stages self"),
        (
            plan(stages=("expert",), sequence_len=20),
            [],
            "no correct response, and the expert's does not fit: prompt + response are 23 tokens, the context holds 20",
        ),
        (
            plan(stages=("self",), samples=1),
            [Failure("too hot")],
            "no correct response in stages self (1 requests could not be served by the engine)",
        ),
        (
            plan(),
            [],
            "response_token_ids decode to another text than the last message, from character 0 on: ids and "
            "behavior_logprobs of another tokenizer; remove both columns, or name the --tokenizer they are of",
        ),
    ],
)
def test_why_a_problem_cannot_be_rewritten(how: Plan, outcomes: list[Outcome], reason: str) -> None:
    foreign = {"expert_token_ids": [100, 0], "expert_logprobs": [-1.0, -1.0]} if "another tokenizer" in reason else {}
    with pytest.raises(RowError) as error:
        drive(problem(**foreign), how, outcomes)
    assert str(error.value) == reason
