"""Rules on one row: leaks, copies, degenerate and cut-off text, log-probs that disagree, and a second verdict."""

import re
from collections.abc import Iterator
from itertools import groupby

import numpy as np

from mindgap_data.checks.finding import RowFinding
from mindgap_data.checks.text import compression_ratio, language, repeated_ngrams, scripts
from mindgap_data.checks.thresholds import SELF_KL
from mindgap_data.errors import one_line
from mindgap_data.importance import kl_k3
from mindgap_data.record import Record
from mindgap_data.rewrite.leaks import NEAR_COPY, mentions_reference, ngram_overlap, words
from mindgap_data.rewrite.working import only_answers
from mindgap_data.verify import Verdict

# Looked at with these limits, a worked solution passes and a loop does not (tests/datatool/checks/test_response.py).
REPEATED_LINES = 4
REPEATED_NGRAMS = 0.6  # share of word 4-grams that came before, in texts of 40 words or more
COMPRESSION_RATIO = 6.0  # bytes over deflated bytes, in texts of 400 bytes or more

_SPECIAL = re.compile(r"<\|[\w ]{1,40}\|>|\[/?INST\]|<(?:start|end)_of_turn>|<</?SYS>>|</?s>")
_OPEN_ENDED = re.compile(
    r"(?:[,;:(\[{=+*/\\<&]|\s-|\b(?:the|a|an|and|or|of|is|are|to|so|we|with|that|then|for|in|by))$", re.IGNORECASE
)
_PAIRS = ((r"\begin{", r"\end{"), (r"\[", r"\]"), (r"\(", r"\)"), ("<think>", "</think>"))


def inspect(record: Record) -> list[RowFinding]:
    """What looks wrong with the text and log-probs of a record; the verdict on its answer is separate."""
    text = record.messages[-1].content
    prompt = "\n".join(message.content for message in record.messages[:-1])
    found = [*_logprobs(record), *_template_text(text), *_repetition(text), *_truncated(text)]
    if record.tier != "expert":
        # Only who was shown a solution can speak of a teacher whom the problem does not know.
        found += [*_leak(text, prompt if record.tier == "guided" else None), *_copy(text, record.expert)]
        found += [*_language(text, f"{prompt}\n{record.expert}"), *_answer_only(text, record.expert)]
    return found


def verdict_findings(verdict: Verdict, answer: str) -> list[RowFinding]:
    """The finding that a second check of the answer gives, if any."""
    match verdict:
        case Verdict.CORRECT:
            return []
        case Verdict.WRONG:
            return [RowFinding("wrong", f"does not come to the reference answer {one_line(answer, 40)!r}")]
        case Verdict.NO_ANSWER:
            return [RowFinding("no_answer", f"no answer found; the reference is {one_line(answer, 40)!r}")]
    return [RowFinding("checker_error", f"the verifier could not compare it with {one_line(answer, 40)!r}")]


def _logprobs(record: Record) -> Iterator[RowFinding]:
    provenance = record.provenance
    if record.tier != "self" or provenance.behavior != "model" or provenance.policy or not record.behavior_logprobs:
        return  # under a policy that has moved since, the two may well disagree
    k3 = float(kl_k3(np.subtract(record.policy_logprobs, record.behavior_logprobs)).mean())
    if k3 > SELF_KL:
        yield RowFinding("logprobs", f"behaviour and policy log-probs disagree: KL k3 is {k3:.3g} nats per token")


def _template_text(text: str) -> Iterator[RowFinding]:
    if special := _SPECIAL.search(text):
        yield RowFinding("template_text", f"the text holds {special.group()!r}")
    if "\ufffd" in text:
        yield RowFinding("template_text", "the text holds U+FFFD, bytes that were no character")


def _repetition(text: str) -> Iterator[RowFinding]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    run = max((len(list(group)) for _, group in groupby(lines)), default=0)
    if run >= REPEATED_LINES:
        yield RowFinding("repetition", f"the same line {run} times in a row")
    if len(words(text)) >= 40 and (share := repeated_ngrams(text)) > REPEATED_NGRAMS:
        yield RowFinding("repetition", f"{share:.0%} of its word 4-grams came before in it")
    if len(text) >= 400 and (ratio := compression_ratio(text)) > COMPRESSION_RATIO:
        yield RowFinding("repetition", f"deflates {ratio:.1f} times")


def _truncated(text: str) -> Iterator[RowFinding]:
    end = text.rstrip().rstrip("*_")
    if not end:
        yield RowFinding("truncated", "the text is empty")
    elif tail := _OPEN_ENDED.search(end[-40:]):
        yield RowFinding("truncated", f"ends on {tail.group().strip()!r}")
    for opening, closing in _PAIRS:
        if text.count(opening) > text.count(closing):
            yield RowFinding("truncated", f"{opening} is not closed")
    if text.count("```") % 2 or text.count("$$") % 2:
        yield RowFinding("truncated", f"{'```' if text.count('```') % 2 else '$$'} is not closed")


def _leak(text: str, prompt: str | None) -> Iterator[RowFinding]:
    if phrase := mentions_reference(text, prompt):
        yield RowFinding("leak", f"says {phrase!r}")


def _copy(text: str, expert: str) -> Iterator[RowFinding]:
    overlap = ngram_overlap(text, expert)
    if overlap >= NEAR_COPY:
        yield RowFinding("near_copy", f"{overlap:.0%} of its 8-grams stand in the expert's text")


def _language(text: str, known: str) -> Iterator[RowFinding]:
    mine, theirs = scripts(text), scripts(known)
    for script, count in mine.items():
        if script not in theirs and count >= 3 and count >= 0.02 * mine.total():
            yield RowFinding(
                "language", f"{count} letters in {script.capitalize()} script, which prompt and expert do not use"
            )
    spoken, expected = language(text), language(known)
    if spoken and expected and spoken != expected:
        yield RowFinding("language", f"reads as {spoken}, prompt and expert as {expected}")


def _answer_only(text: str, expert: str) -> Iterator[RowFinding]:
    if only_answers(text, expert):
        yield RowFinding("answer_only", f"{len(words(text))} words, where the expert uses {len(words(expert))}")
