"""Is a rewritten row sound: re-verified, and looked over for leaks, copies, degenerate and cut-off text."""

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

from mindgap_data.rewrite.leaks import NEAR_COPY, mentions_reference, ngram_overlap, words
from mindgap_data.verify import Verdict

# Kind of finding -> how much it weighs in the order of reading. The worst spoil training, the least deserve a look.
KINDS: dict[str, int] = {
    "duplicate_id": 10,
    "wrong": 10,
    "logprobs": 8,
    "template_text": 8,
    "leak": 7,
    "repetition": 6,
    "no_answer": 6,
    "truncated": 5,
    "language": 5,
    "checker_error": 4,
    "answer_only": 3,
    "near_copy": 2,
}
MEANINGS = {
    "duplicate_id": "an id that stood in an earlier row",
    "wrong": "checked again, the response is wrong",
    "logprobs": "a self row whose behaviour and policy log-probs disagree",
    "template_text": "chat-template tokens inside the text",
    "leak": "mentions the reference solution",
    "repetition": "the same words over and over",
    "no_answer": "checked again, no answer found",
    "truncated": "the text looks cut off",
    "language": "a script or language that prompt and expert do not use",
    "checker_error": "the verifier could not settle it",
    "answer_only": "an answer without the working the expert shows",
    "near_copy": f"{NEAR_COPY:.0%} or more of its 8-grams are the expert's",
}

# Looked at with these limits, a worked solution passes and a loop does not (tests/datatool/test_audit.py).
REPEATED_LINES = 4
REPEATED_NGRAMS = 0.6  # share of word 4-grams that came before, in texts of 40 words or more
COMPRESSION_RATIO = 6.0  # bytes over deflated bytes, in texts of 400 bytes or more
LOGPROB_TOLERANCE = 0.1  # nats a token: bfloat16 kernels of two engines agree to this
WORKING_WORDS = 4

_EXCERPT = 200
_SPECIAL = re.compile(r"<\|[\w ]{1,40}\|>|\[/?INST\]|<(?:start|end)_of_turn>|<</?SYS>>|</?s>")
_FINAL_ANSWER = re.compile(
    r"\\boxed\{[^\n]{0,200}|####[^\n]{0,200}|\b(?:final )?answer(?: is)?\b[^\n]{0,80}", re.IGNORECASE
)
_OPEN_ENDED = re.compile(
    r"(?:[,;:(\[{=+*/\\<&]|\s-|\b(?:the|a|an|and|or|of|is|are|to|so|we|with|that|then|for|in|by))$", re.IGNORECASE
)
_PAIRS = ((r"\begin{", r"\end{"), (r"\[", r"\]"), (r"\(", r"\)"), ("<think>", "</think>"))
_NOTATION = ("GREEK", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "MODIFIER", "MICRO", "FEMININE", "")
# Frequent words that few other of these languages share.
_LANGUAGES = {
    name: frozenset(common.split())
    for name, common in {
        "English": "the of and is are we has have how many they that with which then each so from therefore",
        "Spanish": "el los las una que del por para cuántos tiene son entonces cada como cuántas tenemos",
        "French": "le les une des est dans pour nous combien sont donc avec chaque qui avons",
        "German": "der die das und ist wir ein eine wie viele sind hat mit also jeder dann nicht",
        "Italian": "il gli una che della per sono quanti ha quindi ogni abbiamo di con quante",
        "Portuguese": "os uma que não são para quantos tem então cada temos ele ela em quantas",
    }.items()
}


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong with a row."""

    kind: str  # one of KINDS
    detail: str  # one line, may quote the row


@dataclass(frozen=True)
class FlaggedRow:
    """A row with findings."""

    line: int
    id: str
    tier: str
    findings: tuple[Finding, ...]
    excerpt: str  # of the response

    @property
    def score(self) -> int:
        """Weight of the findings, for the order of reading."""
        return sum(KINDS[kind] for kind in {finding.kind for finding in self.findings})

    def as_dict(self) -> dict[str, Any]:
        """As a line of the output file."""
        return {**asdict(self), "score": self.score}


def inspect(row: Mapping[str, Any]) -> list[Finding]:
    """What looks wrong with the text and log-probs of a valid record; the verdict on its answer is separate."""
    text = row["messages"][-1]["content"]
    prompt = "\n".join(message["content"] for message in row["messages"][:-1])
    found = [*_logprobs(row), *_template_text(text), *_repetition(text), *_truncated(text)]
    if row["tier"] != "expert":
        found += [*_leak(text), *_copy(text, row["expert"])]
        found += [*_language(text, f"{prompt}\n{row['expert']}"), *_answer_only(text, row["expert"])]
    return found


def verdict_findings(verdict: Verdict, answer: str) -> list[Finding]:
    """The finding that a second check of the answer gives, if any."""
    match verdict:
        case Verdict.CORRECT:
            return []
        case Verdict.WRONG:
            return [Finding("wrong", f"does not come to the reference answer {_short(answer)}")]
        case Verdict.NO_ANSWER:
            return [Finding("no_answer", f"no answer found; the reference is {_short(answer)}")]
    return [Finding("checker_error", f"the verifier could not compare it with {_short(answer)}")]


def flagged(line: int, row: Mapping[str, Any], findings: Sequence[Finding]) -> FlaggedRow:
    """A row with its findings, the heaviest first."""
    ordered = tuple(sorted(findings, key=lambda finding: -KINDS[finding.kind]))
    return FlaggedRow(line, row["id"], row["tier"], ordered, row["messages"][-1]["content"][:_EXCERPT])


def reading_order(rows: Sequence[FlaggedRow]) -> list[FlaggedRow]:
    """The rows to read first, first; equal weights in the order of the file."""
    return sorted(rows, key=lambda row: (-row.score, row.line))


def compression_ratio(text: str) -> float:
    """Bytes over deflated bytes: about 2 for prose, above 6 for loops; 1 for an empty text."""
    data = text.encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, 6)) if data else 1.0


def repeated_ngrams(text: str, n: int = 4) -> float:
    """Share of the word ``n``-grams of ``text`` that occurred before in it; 0 for fewer than ``n`` words."""
    tokens = words(text)
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def scripts(text: str) -> Counter[str]:
    """Letters by script (LATIN, CYRILLIC, CHINESE, ...); Greek and mathematical letters are left out as notation."""
    found: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if script := _script(char):
            found[script] += count
    return found


def language(text: str) -> str | None:
    """Which of a few European languages the frequent words are of, or None where that is not clear.

    Clear means: at least 4 of its frequent words, and twice as many as of any other language.
    """
    counts = Counter(words(text))
    hits = sorted(((sum(counts[w] for w in common), name) for name, common in _LANGUAGES.items()), reverse=True)
    (first, name), (second, _) = hits[:2]
    return name if first >= 4 and first >= 2 * second else None


def _logprobs(row: Mapping[str, Any]) -> Iterator[Finding]:
    behavior, policy = row["behavior_logprobs"], row["policy_logprobs"]
    if row["tier"] != "self" or row["provenance"].get("behavior") != "model" or behavior is None:
        return
    gap = sum(abs(b - p) for b, p in zip(behavior, policy, strict=True)) / len(policy)
    if gap > LOGPROB_TOLERANCE:
        yield Finding("logprobs", f"behaviour and policy log-probs differ by {gap:.2f} nats a token on average")


def _template_text(text: str) -> Iterator[Finding]:
    if special := _SPECIAL.search(text):
        yield Finding("template_text", f"the text holds {special.group()!r}")
    if "\ufffd" in text:
        yield Finding("template_text", "the text holds U+FFFD, bytes that were no character")


def _repetition(text: str) -> Iterator[Finding]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    run = max((len(list(group)) for _, group in groupby(lines)), default=0)
    if run >= REPEATED_LINES:
        yield Finding("repetition", f"the same line {run} times in a row")
    if len(words(text)) >= 40 and (share := repeated_ngrams(text)) > REPEATED_NGRAMS:
        yield Finding("repetition", f"{share:.0%} of its word 4-grams came before in it")
    if len(text) >= 400 and (ratio := compression_ratio(text)) > COMPRESSION_RATIO:
        yield Finding("repetition", f"deflates {ratio:.1f} times")


def _truncated(text: str) -> Iterator[Finding]:
    end = text.rstrip().rstrip("*_")
    if not end:
        yield Finding("truncated", "the text is empty")
    elif tail := _OPEN_ENDED.search(end[-40:]):
        yield Finding("truncated", f"ends on {tail.group().strip()!r}")
    for opening, closing in _PAIRS:
        if text.count(opening) > text.count(closing):
            yield Finding("truncated", f"{opening} is not closed")
    if text.count("```") % 2 or text.count("$$") % 2:
        yield Finding("truncated", f"{'```' if text.count('```') % 2 else '$$'} is not closed")


def _leak(text: str) -> Iterator[Finding]:
    if phrase := mentions_reference(text):
        yield Finding("leak", f"says {phrase!r}")


def _copy(text: str, expert: str) -> Iterator[Finding]:
    overlap = ngram_overlap(text, expert)
    if overlap >= NEAR_COPY:
        yield Finding("near_copy", f"{overlap:.0%} of its 8-grams stand in the expert's text")


def _language(text: str, known: str) -> Iterator[Finding]:
    mine, theirs = scripts(text), scripts(known)
    for script, count in mine.items():
        if script not in theirs and count >= 3 and count >= 0.02 * mine.total():
            yield Finding(
                "language", f"{count} letters in {script.capitalize()} script, which prompt and expert do not use"
            )
    spoken, expected = language(text), language(known)
    if spoken and expected and spoken != expected:
        yield Finding("language", f"reads as {spoken}, prompt and expert as {expected}")


def _answer_only(text: str, expert: str) -> Iterator[Finding]:
    if _working(text) < WORKING_WORDS <= _working(expert):
        yield Finding("answer_only", f"{len(words(text))} words, where the expert uses {len(words(expert))}")


def _working(text: str) -> int:
    """Words before and after the statement of the final answer."""
    return len(words(_FINAL_ANSWER.sub(" ", text)))


@lru_cache(maxsize=4096)
def _script(char: str) -> str | None:
    if not char.isalpha():
        return None
    name = unicodedata.name(char, "").split(" ")[0]
    if name in _NOTATION:
        return None
    # Japanese writes kana and Chinese characters side by side.
    return "CHINESE" if name in ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else name


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
