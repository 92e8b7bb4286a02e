"""What happens to one problem, step by step: its procedure is driven by hand, no engine, no scheduler."""

from collections.abc import Sequence

import pytest

from mindgap_data.engines import Draw, Failure, Sampling, Score
from mindgap_data.rewrite.guided import ladder
from mindgap_data.rewrite.stages import Plan
from mindgap_data.rows.values import RowError
from mindgap_data.run.outcomes import Outcome
from procedure import TOKENIZER, drawn, drive, plan, problem


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


EXPERT = "First take 6 tens of 7. Then add them up to 42. The answer is 42."


def test_the_least_help_that_succeeds_is_used_and_every_rung_is_counted_by_its_name() -> None:
    outcomes = [drawn("wrong"), drawn("correct", "The answer is 42."), drawn("correct", "6 x 7 is 42")]
    how = plan(samples=1, guided=ladder("answer,partial,full"))
    record, asked = drive(problem(expert=EXPERT), how, outcomes)
    assert (record.tier, record.hint, record.messages[-1].content) == ("guided", "partial", "6 x 7 is 42")
    keys = [request.key for request in asked if isinstance(request, Draw)]
    assert keys == ["p/self/0", "p/guided_answer/0", "p/guided_partial/0"]
    shown = [TOKENIZER.decode(request.prompt_ids) for request in asked if isinstance(request, Draw)]
    assert "42" in shown[1]
    assert "6 tens" not in shown[1]
    assert "6 tens" in shown[2]
    assert "42" not in shown[2]
    attempts = record.attempts.model_dump(by_alias=True, exclude_unset=True)
    counted = {name: {k: n for k, n in attempts[name].items() if n} for name in attempts if "guided" in name}
    assert counted == {"guided_answer": {"sampled": 1, "bare": 1}, "guided_partial": {"sampled": 1, "correct": 1}}
    assert record.attempts.pass_rate == 0


def test_a_hint_that_would_give_the_answer_away_is_left_out() -> None:
    outcomes = [drawn("wrong"), drawn("wrong"), drawn("correct", "6 x 7 is 42")]
    record, asked = drive(problem(), plan(samples=1, guided=ladder("answer,partial,full")), outcomes)
    assert [request.key for request in asked[:3]] == ["p/self/0", "p/guided_answer/0", "p/guided/0"]
    assert (record.hint, record.attempts.guided_partial) == ("full", None)


@pytest.mark.parametrize("asked_for", [True, False])
def test_a_bare_answer_to_the_whole_solution_is_kept_unless_working_is_asked_for(asked_for: bool) -> None:
    outcomes = [drawn("wrong"), drawn("correct", "The answer is 42.")]
    record, _ = drive(problem(expert=EXPERT), plan(samples=1, require_working=asked_for), outcomes)
    counts = record.attempts.guided
    assert counts is not None
    assert (record.tier, counts.correct, counts.bare) == (("expert", 0, 1) if asked_for else ("guided", 1, 0))


def test_the_guided_stage_can_have_a_picker_of_its_own() -> None:
    outcomes = [drawn("wrong"), drawn("wrong"), drawn("correct", "It is 42"), drawn("correct", "42")]
    record, asked = drive(problem(), plan(guided_picker="shortest"), outcomes)
    assert [request.key for request in asked[:2]] == ["p/self/0", "p/self/1"], "the self stage stops when it can"
    assert (record.messages[-1].content, record.provenance.selection) == ("42", "shortest")
    record, _ = drive(problem(), plan(guided_picker="shortest"), [drawn("correct")])
    assert (record.tier, record.provenance.selection) == ("self", "first")


def test_grape_takes_the_likeliest_per_token_under_the_plain_prompt() -> None:
    outcomes = [drawn("wrong"), drawn("wrong"), drawn("correct", "42 it is"), drawn("correct", "42")]
    likely = {"42 it is": -0.1, "42": -0.9}

    def policy(ids: Sequence[int]) -> tuple[float, ...]:
        return (likely[TOKENIZER.response_text(ids)],) * len(ids)

    record, asked = drive(problem(), plan(guided_picker="grape"), outcomes, policy)
    assert (record.messages[-1].content, record.policy_logprobs) == ("42 it is", [-0.1] * 9)
    assert [request.prompt_ids for request in asked if isinstance(request, Score)] == [asked[0].prompt_ids] * 2


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
