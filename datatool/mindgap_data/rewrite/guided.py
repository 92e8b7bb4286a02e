"""The guided prompts: a ladder of hints, from the answer alone to the teacher's whole solution."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mindgap_data.errors import UserError
from mindgap_data.record import HINTS, Hint, stage_of
from mindgap_data.rewrite.first_part import first_part

TEMPLATES: dict[Hint, str] = {
    "answer": """\
{{ problem }}

The answer is {{ answer }}.

Now solve the problem yourself: work out step by step how to get there, explain every step in your own words, and do \
not say that the answer was known. End with the final answer.\
""",
    "partial": """\
{{ problem }}

Here is how a teacher's solution to this problem begins. Read it and understand it.

<teacher_solution>
{{ solution }}
</teacher_solution>

Now solve the problem yourself, from the start to the end. Use the teacher's solution only as guidance: do not copy \
it, explain every step in your own words, and do not mention the teacher or the solution. End with the final answer.\
""",
    "full": """\
{{ problem }}

Here is a teacher's solution to this problem. Read it and understand it.

<teacher_solution>
{{ solution }}
</teacher_solution>

The answer is {{ answer }}.

Now solve the problem yourself. Use the teacher's solution only as guidance: do not copy it, explain every step in \
your own words, and do not mention the teacher or the solution. End with the final answer.\
""",
}
# What a template may use; it must show the first two.
_NAMES: dict[Hint, tuple[str, ...]] = {
    "answer": ("problem", "answer"),
    "partial": ("problem", "solution"),
    "full": ("problem", "solution", "answer"),
}


class GuidedPrompt:
    """Renders the prompt of one hint from a Jinja template."""

    def __init__(self, hint: Hint = "full", template: str | None = None, name: str = "guided template") -> None:
        """Compile ``template`` (the hint's own by default); ``name`` stands in errors.

        It may use ``problem`` and, as far as the hint goes, ``solution`` (of ``partial`` its first part) and
        ``answer``.

        Raises:
            UserError: a syntax error, a name the template may not use, or one it must show and does not.
        """
        self.hint = hint
        self.template = TEMPLATES[hint] if template is None else template
        self._name = name
        names = _NAMES[hint]
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
        try:
            self._compiled = environment.from_string(self.template)
            trial = self._compiled.render({one: f"{one}\x00" for one in names})
        except TemplateSyntaxError as error:
            raise UserError(f"{name}:{error.lineno}: {error.message}; see `mindgap-data rewrite --help`") from error
        except TemplateError as error:
            raise UserError(f"{name}: {error}; it may use {', '.join(names[:-1])} and {names[-1]}") from error
        if any(f"{one}\x00" not in trial for one in names[:2]):
            raise UserError(f"{name}: it must show {' and '.join(f'{{{{ {one} }}}}' for one in names[:2])}")

    def __reduce__(self) -> Any:
        return GuidedPrompt, (self.hint, self.template, self._name)  # a compiled template cannot be pickled

    @property
    def stage(self) -> str:
        """The stage that draws from it."""
        return stage_of(self.hint)

    def messages(self, prompt: Sequence[Mapping[str, Any]], expert: str, answer: str) -> list[dict[str, Any]] | None:
        """``prompt`` with its last user turn replaced by the guided one; every other turn stays.

        None where a first part of the solution is wanted and every part of it gives the answer away.
        """
        solution = first_part(expert, answer) if self.hint == "partial" else expert
        if solution is None:
            return None
        guided = [dict(message) for message in prompt]
        last = max(i for i, message in enumerate(guided) if message["role"] == "user")
        shown = {"problem": guided[last]["content"], "solution": solution, "answer": answer}
        guided[last]["content"] = self._compiled.render({name: shown[name] for name in _NAMES[self.hint]})
        return guided


def ladder(hints: str = "full", templates: Sequence[str] = ()) -> tuple[GuidedPrompt, ...]:
    """The guided prompts of a run, from the least help to the most.

    Args:
        hints: names of hints with commas between, in that order.
        templates: files of templates, each ``HINT=FILE``, or ``FILE`` alone for the whole solution's.

    Raises:
        UserError: an unknown name, a wrong order, or a template that is not wanted or cannot be used.
    """
    names = [name.strip() for name in hints.split(",") if name.strip()]
    if not names or names != [hint for hint in HINTS if hint in names]:
        raise UserError(f"--hints {hints}: name some of {','.join(HINTS)}, in this order, each once")
    files = dict(_template_file(text) for text in templates)
    if spare := [hint for hint in files if hint not in names]:
        raise UserError(f"--guided-template: there is no hint {spare[0]} in this run; add it to --hints")
    return tuple(_prompt(hint, files.get(hint)) for hint in HINTS if hint in names)


def _template_file(text: str) -> tuple[Hint, Path]:
    for hint in HINTS:
        if text.startswith(f"{hint}="):
            return hint, Path(text.removeprefix(f"{hint}="))
    return "full", Path(text)


def _prompt(hint: Hint, path: Path | None) -> GuidedPrompt:
    if path is None:
        return GuidedPrompt(hint)
    try:
        return GuidedPrompt(hint, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the guided template cannot be read: {error}") from error
