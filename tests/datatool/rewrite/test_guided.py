"""Guided prompts: what each hint shows, whose template it is, and what a template may use."""

from pathlib import Path

import pytest

from mindgap_data.errors import UserError
from mindgap_data.rewrite.guided import GuidedPrompt, ladder

PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 x 7?"}]
SOLUTION = "Take 6 tens of 7. Add them up. The answer is 42."


@pytest.mark.parametrize(
    ("hint", "shown", "hidden"),
    [
        ("answer", ["6 x 7?", "42"], ["6 tens", "teacher"]),
        ("partial", ["6 x 7?", "6 tens"], ["42"]),
        ("full", ["6 x 7?", SOLUTION, "The answer is 42."], []),
    ],
)
def test_what_each_hint_shows_and_hides(hint, shown, hidden):
    messages = GuidedPrompt(hint).messages(PROMPT, SOLUTION, "42")
    assert messages is not None
    assert messages[0] == PROMPT[0]
    assert all(text in messages[1]["content"] for text in shown)
    assert not any(text in messages[1]["content"] for text in hidden)
    assert PROMPT[1]["content"] == "6 x 7?", "the plain prompt stays"


def test_there_is_no_first_part_without_the_answer():
    assert GuidedPrompt("partial").messages(PROMPT, "It is 42. Surely so.", "42") is None


def test_templates_are_replaced_by_hint(tmp_path: Path):
    (tmp_path / "a").write_text("{{ problem }} Show why it is {{ answer }}.")
    (tmp_path / "f").write_text("{{ problem }} {{ solution }}")
    rungs = ladder("answer,partial,full", [f"answer={tmp_path / 'a'}", str(tmp_path / "f")])
    assert [rung.hint for rung in rungs] == ["answer", "partial", "full"]
    assert [rung.messages(PROMPT, SOLUTION, "42")[1]["content"] for rung in (rungs[0], rungs[2])] == [
        "6 x 7? Show why it is 42.",
        f"6 x 7? {SOLUTION}",
    ]
    assert rungs[1].template == GuidedPrompt("partial").template


@pytest.mark.parametrize(
    ("hints", "template", "message"),
    [
        ("full,answer", None, "--hints full,answer: name some of answer,partial,full, in this order, each once"),
        ("half", None, "--hints half: name some of answer,partial,full, in this order, each once"),
        ("", None, "--hints : name some of answer,partial,full, in this order, each once"),
        ("full", "answer={}", "--guided-template: there is no hint answer in this run; add it to --hints"),
        ("answer", "answer={}", "{}: it must show {{ problem }} and {{ answer }}"),
        ("partial", "partial={}", "{}: 'answer' is undefined; it may use problem and solution"),
        ("full", "{}", "{}: it must show {{ problem }} and {{ solution }}"),
        ("full", "none.jinja", "none.jinja: the guided template cannot be read: [Errno 2] No such file or directory: "
         "'none.jinja'"),
    ],
)  # fmt: skip
def test_wrong_hints_and_templates_are_one_line(tmp_path: Path, hints, template, message):
    path = tmp_path / "t.jinja"
    path.write_text("{{ problem }} {{ answer }}" if "partial" in hints else "{{ problem }}")
    with pytest.raises(UserError) as error:
        ladder(hints, [] if template is None else [template.replace("{}", str(path))])
    assert str(error.value) == message.replace("{}", str(path))
