"""A model that thinks: its thoughts and the expert's, from the row to the record and back."""

from typing import Any

import pytest

from good_record import record as good_record
from mindgap_data.engines import Draw, Sampling, Score, Scores
from mindgap_data.policy.chat import ChatTokenizer
from mindgap_data.record import Provenance, Record, agreement_error
from mindgap_data.rewrite.guided import GuidedPrompt
from mindgap_data.rewrite.selection import expert_record
from mindgap_data.rewrite.stages import Plan, RewriteOptions, rewrite_problem
from mindgap_data.rows.problem import to_problem
from mindgap_data.rows.shapes import Fields
from mindgap_data.rows.values import RowError
from mindgap_data.run.outcomes import Attempt
from templates import OPENED, bytes_tokenizer
from tiny import CHATML

ROW = {
    "messages": [
        {"role": "user", "content": "6 x 7?"},
        {"role": "assistant", "content": "It is \\boxed{42}.", "reasoning": "6 times 7"},
    ]
}
PLAIN = {"problem": "6 x 7?", "solution": "It is \\boxed{42}."}


def rewritten(row: dict[str, Any], template: str, drawn: str | None, expert_thinking: Any = None) -> Record:
    """The record of a row where the model draws this text, or nothing that is right."""
    chat = ChatTokenizer(bytes_tokenizer(template), "tiny", (), {}, expert_thinking)
    options = RewriteOptions(("self", "expert"), 1, "first", (GuidedPrompt(),), score_expert=True, seed=0)
    thinking = {"expert_thinking": chat.expert_thinking} if chat.expert_thinking else {}
    provenance = Provenance.model_validate({**good_record()["provenance"], **thinking})
    steps = rewrite_problem(to_problem(row, Fields()), Plan(options, chat, Sampling(), 900, 900, provenance))
    outcomes: Any = None
    while True:
        try:
            asked = steps.send(outcomes)
        except StopIteration as stop:
            return checked(stop.value, chat)
        outcomes = []
        for request in getattr(asked, "requests", asked):
            if isinstance(request, Score):
                outcomes.append(Scores((-0.5,) * len(request.response_ids)))
                continue
            assert isinstance(request, Draw)
            ids = chat.response_ids(drawn or "7\n</think>\n\n7")
            verdict: Any = "correct" if drawn else "wrong"
            outcomes.append(Attempt(verdict, len(ids), chat.response_text(ids), ids, (-0.25,) * len(ids)))


def checked(record: Record, chat: ChatTokenizer) -> Record:
    """The record as it is read again."""
    assert agreement_error(record, chat) is None
    return Record.from_row(record.as_row())


def last(record: Record) -> dict[str, Any]:
    return record.messages[-1].model_dump(exclude_unset=True)


def test_a_drawn_thought_is_the_turns_reasoning() -> None:
    record = rewritten(ROW, OPENED, "six sevens\n</think>\n\n\\boxed{42}")
    assert last(record) == {"role": "assistant", "content": "\\boxed{42}", "reasoning_content": "six sevens"}
    assert (record.expert, record.expert_reasoning) == ("It is \\boxed{42}.", "6 times 7")


@pytest.mark.parametrize("row", [ROW, PLAIN], ids=["with a thought", "without"])
@pytest.mark.parametrize("template", [OPENED, CHATML], ids=["thinking", "plain"])
def test_the_expert_chosen_or_selected_is_the_same_row(row: dict[str, Any], template: str) -> None:
    chosen = rewritten(row, template, None)
    replaced = expert_record(rewritten(row, template, "it is\n</think>\n\n42"))
    assert (chosen.tier, replaced.tier) == ("expert", "expert")
    assert last(chosen) == last(replaced)
    assert chosen.response_token_ids == replaced.response_token_ids
    assert last(chosen).get("reasoning_content") == ("6 times 7" if row is ROW and template is OPENED else None)
    assert chosen.expert_reasoning == ("6 times 7" if row is ROW else None)


def test_a_record_is_rewritten_again_from_the_experts_thought() -> None:
    first = rewritten(ROW, OPENED, None)
    again = to_problem(first.as_row(), Fields())
    assert (again.expert, again.thought, again.id) == ("It is \\boxed{42}.", "6 times 7", first.id)
    assert "input.messages" not in first.as_row()


def test_skip_gives_an_expert_without_a_thought_no_tier() -> None:
    with pytest.raises(RowError) as error:
        rewritten(PLAIN, OPENED, None, "skip")
    assert str(error.value) == "no correct response, and the expert's has no thought (--expert-thinking skip)"
    assert rewritten(ROW, OPENED, None, "skip").tier == "expert"
    assert rewritten(PLAIN, OPENED, "a\n</think>\n\n42", "skip").tier == "self"


TALKING = {
    "messages": [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 2}}]},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
}
# Qwen's notation.
CALLS = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t | tojson }}{% endfor %}<|im_end|>{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls %}"
    "<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_a_demonstration_that_calls_tools_is_trained_as_the_template_writes_it() -> None:
    record = rewritten(TALKING, CALLS, None)
    written = '<tool_call>\n{"name": "add", "arguments": {"a": 2, "b": 2}}\n</tool_call>'
    assert (record.tier, last(record)["content"], record.expert) == ("expert", written, written)
    assert record.answer == '[{"name": "add", "arguments": {"a": 2, "b": 2}}]'
    assert isinstance(record.tools, str)
    row = record.as_row()
    assert (row["verifier"], "input.messages" in row, "input.tools" in row) == ("tool_call", False, False)
    again = to_problem(row, Fields())
    assert (again.expert, again.tools, again.answer, again.verifier) == (
        written,
        record.tools,
        record.answer,
        "tool_call",
    )
