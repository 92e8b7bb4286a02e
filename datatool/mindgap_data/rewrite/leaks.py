"""Does a response show that its writer had a solution in view: phrases that mention it, and copied n-grams."""

import re

NEAR_COPY = 0.6  # ngram_overlap from which a response counts as a near-verbatim copy of the expert

# Every pattern runs on text in lower case with single spaces and no markdown marks, and has no
# unbounded repetition, so matching takes time linear in the text.
_THING = r"(?:solutions?|answer|explanation|demonstration|derivation|walkthrough|worked example)"
_SHOWN = r"(?:reference|provided|given|supplied|teacher'?s?|expert'?s?|tutor'?s?|instructor'?s?|expected|official)"
_KIND = r"(?:correct|final|detailed|full|complete|worked|written|step-by-step|step by step|math|mathematical)"
_WHO = r"(?:teacher|expert|tutor|instructor|reference|hint)"
_SAYS = r"(?:says?|said|shows?|showed|explain(?:s|ed)?|suggest(?:s|ed)?|stat(?:es|ed)|did|does|point(?:s|ed) out)"
_SHOWS = r"(?:shown|stated|explained|described|given|seen|mentioned|demonstrated|outlined|provided|indicated|noted)"
_WAY = rf"(?:{_THING}|approach|method|reasoning|steps|work|guidance|instructions)"
_AUXILIARY = r"(?:has|had|have|does|did|do|not|doesn't|didn't|hasn't|once|never|already|also|only|just|first)"
_GIVES = (
    r"(?:provid(?:e|es|ed)|giv(?:e|es|en)|gave|shar(?:e|es|ed)|show(?:s|ed|n)?|suppl(?:y|ies|ied)|explain(?:s|ed)?)"
)
_PHRASES = (
    # "the given solution", "this provided correct answer"; not "the given answer choices", "the given salt solution".
    rf"\b(?:the|this|that|your|their|his|her) {_SHOWN} (?:{_KIND} )?{_THING}\b(?! (?:choice|option|set|space))",
    rf"\b(?:reference|teacher|expert)(?:'s)? {_THING}\b",
    # "the solution provided above", "the solution you gave"; not "the solution provided that", "given by x = 2".
    rf"\bthe {_THING} (?:that )?(?:(?:i|we) (?:was|were) |you )?(?:provided|given|shown|supplied|gave|shared|showed)"
    rf"(?: (?:above|earlier|here|to (?:me|us)|by the {_WHO}|in the (?:prompt|reference|guidance))\b|[.,:;!?]|$)",
    # "as the teacher says"; not "the teacher says there are 20 pupils".
    rf"\bas (?:the|my|our) {_WHO} {_SAYS}\b",
    rf"\bas {_SHOWS} (?:in|by) the (?:{_SHOWN} )?(?:{_THING}|{_WHO})\b",
    r"\b(?:according to|based on|following|consistent with|agrees with|matches|guided by) "
    rf"the (?:{_SHOWN} )?(?:solution\b(?! (?:of|to|set|for|curve)\b)|guidance\b)",
    rf"\bthe {_WHO}'s {_WAY}\b",
    r"\bthe (?:answer key|ground[- ]truth|gold answer|model (?:solution|answer))\b",
    r"\bthe (?:provided|given) (?:guidance|hint)\b",
    # "the teacher once provided a solution", "the teacher does not give the answer"; not "the teacher gives 5 books".
    rf"\b(?:the|my|our) {_WHO} (?:{_AUXILIARY} ){{0,3}}{_GIVES} (?:[\w-]{{1,20}} ){{0,3}}{_THING}\b",
    # "we are told the answer is 5", "the answer is already known".
    r"\b(?:we|i) (?:are|am|were|was|have been) (?:told|given) (?:that )?the (?:answer|solution)\b",
    r"\bthe answer (?:is|was) already (?:known|given|provided)\b",
    # Chinese: reference answer, the teacher's solution, the solution given.
    r"参考(?:答案|解答|解法|解题)|(?:老师|教师|专家)的?(?:解答|解法|答案|讲解)|(?:提供|给出|给定)的(?:解答|解法|答案)",
)
_MENTION = re.compile("|".join(f"(?:{phrase})" for phrase in _PHRASES))
# A person the problem may or may not be about.
_PERSONS = ("teacher", "expert", "tutor", "instructor")
_PERSON = re.compile(rf"\b(?:the|my|your|our|this|that) ({'|'.join(_PERSONS)})s?\b(?:'s)?")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": None, "*": None, "_": " "})
# Chinese and Japanese write no spaces: each of their characters counts as a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


def mentions_reference(text: str, prompt: str | None = None) -> str | None:
    """The phrase by which ``text`` gives away that a solution was shown to its writer, or None.

    "As in the given solution" is one; "the solution of the given equation" is not. The phrase is
    returned as compared: lower case, single spaces, markdown marks removed. Time is linear in the text.

    Args:
        text: the response.
        prompt: the plain prompt, if the writer was shown a solution: "the teacher" is then the one who wrote it,
            unless the prompt has a teacher too.
    """
    text = _normalised(text)
    if found := _MENTION.search(text):
        return found.group().strip(" .,:;!?")
    if prompt is None:
        return None
    plain = _normalised(prompt)
    known = [person for person in _PERSONS if person in plain]
    return next((found.group() for found in _PERSON.finditer(text) if found.group(1) not in known), None)


def _normalised(text: str) -> str:
    return " ".join(text.lower().translate(_APOSTROPHES).split())


def words(text: str) -> list[str]:
    """Words as n-grams count them: runs of letters and digits, lower case; one per Chinese or Japanese character."""
    return _WORD.findall(text.lower())


def ngram_overlap(text: str, expert: str, n: int = 8) -> float:
    """Share of the word ``n``-grams of ``text`` that stand in ``expert``, in [0, 1].

    A text of fewer than ``n`` words is compared whole: 1 when its words are the expert's words, else 0.
    A text without words overlaps with nothing.
    """
    mine, theirs = words(text), words(expert)
    if len(mine) < n:
        return float(bool(mine) and mine == theirs)
    known = {tuple(theirs[i : i + n]) for i in range(len(theirs) - n + 1)}
    grams = len(mine) - n + 1
    return sum(tuple(mine[i : i + n]) in known for i in range(grams)) / grams
