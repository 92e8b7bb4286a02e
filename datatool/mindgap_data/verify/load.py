"""From a verifier's name to the verifier: built in, installed under an entry point, or ``module:function``."""

import inspect
import os
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, cast

from mindgap_data.errors import UserError
from mindgap_data.verify import Verifier

ENTRY_POINT_GROUP = "mindgap.verifiers"
BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "math": "mindgap_data.verify.math:MathVerifier",
        "numeric": "mindgap_data.verify.numeric:NumericVerifier",
        "exact": "mindgap_data.verify.text:ExactVerifier",
        "choice": "mindgap_data.verify.choice:ChoiceVerifier",
        "regex": "mindgap_data.verify.text:RegexVerifier",
        "json": "mindgap_data.verify.schema:JsonVerifier",
        "tool_call": "mindgap_data.verify.tool_call:ToolCallVerifier",
        "code": "mindgap_data.verify.code:CodeVerifier",
        "instructions": "mindgap_data.verify.instructions:InstructionsVerifier",
        "judge": "mindgap_data.verify.judge:JudgeVerifier",
        "none": "mindgap_data.verify.unchecked:UncheckedVerifier",
    }
)
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def load_verifier(spec: str, options: Mapping[str, Any] = _NO_OPTIONS) -> Verifier:
    """The verifier called ``spec``.

    Args:
        spec: a built-in name, a name of the entry-point group ``mindgap.verifiers``, or ``module:attribute``.
            The attribute is a function ``(response, answer, row) -> Verdict``, or a class of such callables.
        options: keyword arguments of the class; a function takes none.

    Raises:
        UserError: no such verifier, it cannot be imported, or it does not take these options.
    """
    target = BUILT_IN.get(spec) or _installed().get(spec)
    if target is None and ":" not in spec:
        raise UserError(
            f"verifier {spec!r}: no such verifier; use one of {', '.join(known_names())}, or module:function"
        )
    if target is None and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a module beside the data, as with `python -m`
    return _build(spec, _import(spec, target or spec), options)


def known_names() -> list[str]:
    """Names a row or the command line may use: built in and installed."""
    return [*BUILT_IN, *(name for name in sorted(_installed()) if name not in BUILT_IN)]


def verifier_kind(verifier: Verifier) -> str:
    """For provenance: "checked" (an answer compared, a test run), "judged" (a model's opinion) or "unchecked"."""
    return str(getattr(verifier, "kind", "checked"))


def _installed() -> dict[str, str]:
    return _installed_along(tuple(sys.path))


@cache
def _installed_along(path: tuple[str, ...]) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)}


def _import(spec: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, ValueError, TypeError) as error:
        raise UserError(f"verifier {spec!r}: cannot import {module!r}: {error}") from error
    except AttributeError as error:
        raise UserError(f"verifier {spec!r}: module {module!r} has no {attribute!r}") from error


def _build(spec: str, found: Any, options: Mapping[str, Any]) -> Verifier:
    if not inspect.isclass(found):
        if not callable(found):
            raise UserError(f"verifier {spec!r}: {found!r} is not a function (response, answer, row) -> Verdict")
        if options:
            raise UserError(f"verifier {spec!r}: a function takes no options, got {', '.join(sorted(options))}")
        return cast(Verifier, found)
    try:
        inspect.signature(found).bind(**options)
    except TypeError as error:
        known = ", ".join(inspect.signature(found).parameters) or "none"
        raise UserError(f"verifier {spec!r}: {error}; its options: {known}") from error
    return cast(Verifier, found(**options))
