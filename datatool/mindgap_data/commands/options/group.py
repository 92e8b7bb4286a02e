"""A group of options under one heading, handed to the command as one object."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[Any], Any]


def option_group(title: str, parameter: str, build: Callable[..., Any], options: list[Option]) -> Callable[[F], F]:
    """A decorator that adds ``options`` to a command, which gets ``build(**their values)`` as ``parameter``.

    Args:
        title: the heading in --help.
        parameter: the command's parameter.
        build: makes the object of the options' values, by name; may raise UserError.
        options: click's decorators.
    """

    def decorate(function: F) -> F:
        own: list[str] = []

        @wraps(function)
        def with_object(*args: Any, **values: Any) -> Any:
            return function(*args, **{parameter: build(**{name: values.pop(name) for name in own})}, **values)

        before = len(getattr(with_object, "__click_params__", []))
        for option in reversed(options):
            option(with_object)
        for added in with_object.__click_params__[before:]:  # type: ignore[attr-defined]
            added.section = title
            own.append(added.name)
        return with_object  # type: ignore[return-value]

    return decorate


def without_options(**values: Any) -> Callable[[F], F]:
    """A decorator that takes options of a shared group away again.

    Args:
        values: what the group gets instead, by the name of the parameter.
    """

    def decorate(function: F) -> F:
        @wraps(function)
        def with_values(*args: Any, **others: Any) -> Any:
            return function(*args, **values, **others)

        kept = [one for one in getattr(function, "__click_params__", []) if one.name not in values]
        with_values.__click_params__ = kept  # type: ignore[attr-defined]
        return with_values  # type: ignore[return-value]

    return decorate


class SectionedCommand(click.Command):
    """A command whose shared options are listed by section, after its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, the command's own first."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (entry := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "section", "") or "Options", []).append(entry)
        for title in sorted(sections, key=lambda name: name != "Options"):
            with formatter.section(title):
                formatter.write_dl(sections[title])
