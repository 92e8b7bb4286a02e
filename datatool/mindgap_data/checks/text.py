"""Measures of a text that rules compare with a threshold: how it repeats itself, its scripts, its language."""

import unicodedata
import zlib
from collections import Counter
from functools import lru_cache

from mindgap_data.rewrite.leaks import words

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


@lru_cache(maxsize=4096)
def _script(char: str) -> str | None:
    if not char.isalpha():
        return None
    name = unicodedata.name(char, "").split(" ")[0]
    if name in _NOTATION:
        return None
    # Japanese writes kana and Chinese characters side by side.
    return "CHINESE" if name in ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA") else name
