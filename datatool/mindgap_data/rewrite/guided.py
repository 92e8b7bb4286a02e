"""The guided prompt: the problem with the teacher's solution shown as guidance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mindgap_data.errors import UserError

DEFAULT_TEMPLATE = """\
{{ problem }}

Here is a teacher's solution to this problem. Read it and understand it.

<teacher_solution>
{{ solution }}
</teacher_solution>

The answer is {{ answer }}.

Now solve the problem yourself. Use the teacher's solution only as guidance: do not copy it, explain every step in \
your own words, and do not mention the teacher or the solution. End with the final answer.\
"""


class GuidedPrompt:
    """Renders the guided prompt from a Jinja template with ``problem``, ``solution`` and ``answer``."""

    def __init__(self, template: str = DEFAULT_TEMPLATE, name: str = "guided template") -> None:
        """Compile ``template``; ``name`` stands in errors.

        Raises:
            UserError: a syntax error, or a name the template may not use.
        """
        self.template = template
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
        try:
            self._compiled = environment.from_string(template)
            trial = self._compiled.render(problem="P\x00", solution="S\x00", answer="A\x00")
        except TemplateSyntaxError as error:
            raise UserError(f"{name}:{error.lineno}: {error.message}; see `mindgap-data rewrite --help`") from error
        except TemplateError as error:
            raise UserError(f"{name}: {error}; it may use problem, solution and answer") from error
        if "P\x00" not in trial or "S\x00" not in trial:
            raise UserError(f"{name}: it must show {{{{ problem }}}} and {{{{ solution }}}}")

    @classmethod
    def from_file(cls, path: Path | None) -> "GuidedPrompt":
        """The template in ``path``, or the default."""
        if path is None:
            return cls()
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: the guided template cannot be read: {error}") from error

    def messages(self, prompt: Sequence[Mapping[str, Any]], expert: str, answer: str) -> list[dict[str, Any]]:
        """``prompt`` with its last user turn replaced by the guided one; every other turn stays."""
        guided = [dict(message) for message in prompt]
        last = max(i for i, message in enumerate(guided) if message["role"] == "user")
        guided[last]["content"] = self._compiled.render(problem=guided[last]["content"], solution=expert, answer=answer)
        return guided
