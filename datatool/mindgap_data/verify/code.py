"""Code: the response's program against the row's tests, in a sandbox."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from mindgap_data.errors import UserError
from mindgap_data.verify import Verdict, sandbox
from mindgap_data.verify.answers import strip_thinking
from mindgap_data.verify.sandbox import Isolation, Limits

MAX_PROGRAM = 200_000
MAX_PAIRS = 200


@dataclass(frozen=True)
class Language:
    """How a program of a language is found in a response and run."""

    fences: tuple[str, ...]  # names of its fenced blocks
    interpreter: str
    arguments: tuple[str, ...]
    suffix: str


LANGUAGES: dict[str, Language] = {
    "python": Language(("python", "py", "python3"), "python", ("-I", "-B", "{file}"), ".py"),
    "javascript": Language(("javascript", "js", "node"), "node", ("{file}",), ".js"),
    "bash": Language(("bash", "sh", "shell"), "bash", ("{file}",), ".sh"),
}

_FENCE = re.compile(r"```([A-Za-z0-9+#]{0,20})[^\n]{0,100}\n(.*?)(?:\n```|```)", re.DOTALL)
_LOOKS_LIKE_CODE = re.compile(r"^(?:def |import |from \w+ import |class |print\(|for \w+ in )", re.MULTILINE)

# Runs the program, then the tests in its names, then says a word the program was not told. The tests
# come through a pipe that is not standard input, so a program that reads input finds none.
_DRIVER = """
import os, sys
def drive():
    source, report = os.fdopen(os.dup(0), "rb", buffering=0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    def read(size):
        parts = []
        while size:
            part = source.read(size)
            if not part:
                os._exit(1)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
    run, build, write, leave = exec, compile, os.write, os._exit
    names = {"__name__": "program", "__builtins__": __builtins__}
    run(build(read(int(read(12))), "program.py", "exec"), names)
    tests, word = read(int(read(12))), read(32)
    run(build(tests, "tests.py", "exec"), names)
    write(report, word)
    leave(0)
drive()
"""


@dataclass(frozen=True)
class CodeVerifier:
    """Runs the last program of a response.

    The row brings ``tests`` (Python statements that raise when the program is wrong: a text, or a list of
    texts, run in the program's names, once it ran as a module), or ``inputs`` and ``outputs`` (lists of
    texts of one length: standard input, and what standard output must be, ignoring trailing white space).

    A pair is judged outside the program's process. Tests run inside it: a program written to deceive them
    (an object equal to everything) can; nothing it does to the process passes for having passed.

    Attributes:
        language: python, javascript or bash; tests are for Python only.
        seconds: wall time for all tests of a response together.
        memory_mb: address space of each process, MiB.
        processes: processes and threads at a time.
        file_mb: size of a file it may write, MiB.
        isolation: "auto", or the isolation required, see ``sandbox``.
    """

    language: str = "python"
    seconds: float = 10.0
    memory_mb: int = 1024
    processes: int = 32
    file_mb: int = 16
    isolation: str = "auto"
    kind: ClassVar[str] = "checked"
    needs_answer: ClassVar[bool] = False
    _isolation: Isolation = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise UserError(f"verifier 'code': language {self.language!r} is not one of {', '.join(LANGUAGES)}")
        for name in ("seconds", "memory_mb", "processes", "file_mb"):
            if not isinstance(getattr(self, name), int | float) or getattr(self, name) <= 0:
                raise UserError(f"verifier 'code': option {name} must be above 0, got {getattr(self, name)!r}")
        if self.isolation != "auto" and self.isolation not in sandbox.ISOLATIONS:
            known = ", ".join(("auto", *sandbox.ISOLATIONS))
            raise UserError(f"verifier 'code': isolation {self.isolation!r} is not one of {known}")
        found = sandbox.strongest_isolation() if self.isolation == "auto" else self.isolation
        if not sandbox.works(found):
            raise UserError(
                f"verifier 'code': isolation {self.isolation!r} does not work on this machine; "
                "install bubblewrap, allow user namespaces, or pass isolation=auto"
            )
        object.__setattr__(self, "_isolation", found)
        self._interpreter()

    def __call__(self, response: str, answer: str, row: Mapping[str, Any]) -> Verdict:
        """Verdict; a program that fails, or takes too long, is wrong; unusable tests are a checker error."""
        program = self.program(response)
        if program is None:
            return Verdict.NO_ANSWER
        if len(program) > MAX_PROGRAM:
            return Verdict.WRONG
        tests, pairs = _tests(row), _pairs(row)
        if (tests is None) == (pairs is None) or (tests is not None and self.language != "python"):
            return Verdict.CHECKER_ERROR
        try:
            passed = (
                self._passes_tests(program, tests) if tests is not None else self._passes_pairs(program, pairs or [])
            )
        except OSError:
            return Verdict.CHECKER_ERROR
        return Verdict.CORRECT if passed else Verdict.WRONG

    @property
    def pool_seconds(self) -> float:
        """What a pool must grant: the sandbox keeps its own, shorter time, so that it can clean up."""
        return self.seconds + 20

    def program(self, response: str) -> str | None:
        """The last fenced block in the language (or of no language), or a response that is all code."""
        body = strip_thinking(response)
        if body is None:
            return None
        blocks = [(name.lower(), text) for name, text in _FENCE.findall(body)]
        fences = LANGUAGES[self.language].fences
        named = [text for name, text in blocks if name in fences] or [text for name, text in blocks if not name]
        if named:
            return str(named[-1])
        if blocks or "```" in body or not _LOOKS_LIKE_CODE.search(body):
            return None
        return body

    def _limits(self, seconds: float) -> Limits:
        return Limits(seconds, self.memory_mb, self.processes, self.file_mb)

    def _interpreter(self) -> str:
        return sandbox.interpreter(LANGUAGES[self.language].interpreter, self._isolation)

    def _passes_tests(self, program: str, tests: str) -> bool:
        word = secrets.token_hex(16).encode()
        stdin = b"".join(_sized(text) for text in (program, tests)) + word
        command = [self._interpreter(), "-I", "-B", "-c", _DRIVER]
        ended = sandbox.run(command, stdin, "", "program.py", self._limits(self.seconds), self._isolation)
        return ended.status == "ended" and ended.output == word

    def _passes_pairs(self, program: str, pairs: Sequence[tuple[str, str]]) -> bool:
        """Every pair in turn, all within the one time limit."""
        import time

        language = LANGUAGES[self.language]
        command = [self._interpreter(), *language.arguments]
        deadline = time.monotonic() + self.seconds
        for given, expected in pairs:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            name = f"program{language.suffix}"
            ended = sandbox.run(command, given.encode(), program, name, self._limits(left), self._isolation)
            if ended.status != "ended" or _lines(ended.output.decode("utf-8", "replace")) != _lines(expected):
                return False
        return True


def _tests(row: Mapping[str, Any]) -> str | None:
    """The row's tests as one Python text; None when there are none, or they are not Python."""
    tests = row.get("tests")
    if isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests):
        tests = "\n".join(tests)
    if not isinstance(tests, str) or not tests.strip():
        return None
    try:
        compile(tests, "tests", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return tests


def _pairs(row: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    inputs, outputs = row.get("inputs"), row.get("outputs")
    if not (isinstance(inputs, list) and isinstance(outputs, list)) or not 0 < len(inputs) == len(outputs) <= MAX_PAIRS:
        return None
    if not all(isinstance(text, str) for text in (*inputs, *outputs)):
        return None
    return list(zip(inputs, outputs, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _sized(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    return b"%12d" % len(data) + data
