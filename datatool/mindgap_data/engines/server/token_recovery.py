"""Token ids from the token strings and the text a server returned: exact where they are unique, else nothing."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from mindgap_data.policy.chat import ChatTokenizer

_OPENAI_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_REPLACEMENT = "�"


class TokenRecovery:
    """Finds the one sequence of ids that fits both the token strings and the bytes of the text."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer

    def ids(self, tokens: Sequence[str], text: str) -> tuple[int, ...] | None:
        """The ids behind ``tokens``, or None when no or more than one sequence fits.

        Args:
            tokens: one string a token, as servers write them: its text alone or after its neighbours, its
                name in the vocabulary, ``bytes:\\xe2\\x82``, or nothing readable for a part of a character.
            text: what all of them decode to; a special token that ends it may be missing.
        """
        tokens = list(tokens)
        ending = self._ending(tokens[-1]) if tokens else None
        if ending is not None:
            tokens.pop()
            text = text.removesuffix(self._tokenizer.decode([ending]))
        found = self._parse(tokens, text.encode("utf-8", "surrogatepass"))
        if found is None:
            return None
        decoded = self._tokenizer.decode(found)
        if decoded not in (text, text.removeprefix(" ")):
            return None
        return found if ending is None else (*found, ending)

    def _ending(self, token: str) -> int | None:
        """The end-of-turn id that ``token`` names, where it names one."""
        ends = set(self._named.get(token, ())) & set(self._tokenizer.end_ids)
        return ends.pop() if len(ends) == 1 else None

    def _parse(self, tokens: Sequence[str], target: bytes) -> tuple[int, ...] | None:
        # SentencePiece drops a leading space when it decodes a text on its own, so a server may have dropped it too.
        parses = [*self._parses(tokens, target), *self._parses(tokens, b" " + target)]
        return parses[0] if len(parses) == 1 else None

    def _parses(self, tokens: Sequence[str], target: bytes) -> list[tuple[int, ...]]:
        """Up to two ways to cut ``target`` into ``tokens``: a pass over the tokens, keeping two ways an offset."""
        ways: dict[int, list[tuple[int, Any]]] = {0: [(-1, None)]}  # offset -> (id, way before), a linked list
        for token in tokens:
            after: dict[int, list[tuple[int, Any]]] = defaultdict(list)
            for offset, before in ways.items():
                for candidate in self._candidates(token, target, offset):
                    entry = after[offset + len(self._bytes[candidate])]
                    entry.extend((candidate, way) for way in before[: 2 - len(entry)])
            ways = after
        return [_unlink(way) for way in ways.get(len(target), [])]

    def _candidates(self, token: str, target: bytes, offset: int) -> Iterator[int]:
        """Ids that ``token`` may stand for and whose bytes stand at ``offset``."""
        named = self._named.get(token, ())
        if token.startswith("bytes:") and _OPENAI_BYTES.fullmatch(token[6:]):
            named = self._spelled.get(bytes.fromhex(token[6:].replace("\\x", "")), ())
        for candidate in named:
            if target.startswith(self._bytes[candidate], offset):
                yield candidate
        inside = offset < len(target) and target[offset] & 0xC0 == 0x80  # a continuation byte of UTF-8
        if token == "" or _REPLACEMENT in token or inside:
            for end in range(offset + 1, min(len(target), offset + self._longest_part) + 1):
                for candidate in self._parts.get(target[offset:end], ()):
                    if candidate not in named:
                        yield candidate

    @cached_property
    def _bytes(self) -> list[bytes]:
        """Bytes of every id in running text; empty where they cannot be told, which matches nothing of use."""
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        hf = self._tokenizer.hf
        byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
        anchor = hf("a", add_special_tokens=False)["input_ids"]
        before = self._tokenizer.decode(anchor)
        table = []
        for index, name in enumerate(hf.convert_ids_to_tokens(range(len(hf)))):
            text = self._tokenizer.decode([*anchor, index])
            if _REPLACEMENT not in text and text.startswith(before):
                table.append(text[len(before) :].encode("utf-8", "surrogatepass"))
            elif name is not None and (match := _BYTE_TOKEN.fullmatch(name)):
                table.append(bytes([int(match[1], 16)]))
            elif name is not None and all(character in byte_of for character in name):
                table.append(bytes(byte_of[character] for character in name))
            else:
                table.append(b"")
        return table

    @cached_property
    def _named(self) -> dict[str, tuple[int, ...]]:
        """String -> the ids a server may mean by it."""
        hf = self._tokenizer.hf
        named: dict[str, set[int]] = defaultdict(set)
        for index, name in enumerate(hf.convert_ids_to_tokens(range(len(self._bytes)))):
            spellings = {name, self._tokenizer.decode([index]), self._bytes[index].decode("utf-8", "replace")}
            for spelling in spellings:
                if spelling and self._bytes[index] and _REPLACEMENT not in spelling:
                    named[spelling].add(index)
        return {spelling: tuple(sorted(ids)) for spelling, ids in named.items()}

    @cached_property
    def _spelled(self) -> dict[bytes, tuple[int, ...]]:
        """Bytes -> ids."""
        spelled: dict[bytes, list[int]] = defaultdict(list)
        for index, piece in enumerate(self._bytes):
            if piece:
                spelled[piece].append(index)
        return {piece: tuple(ids) for piece, ids in spelled.items()}

    @cached_property
    def _parts(self) -> dict[bytes, tuple[int, ...]]:
        """Bytes that are no whole text -> ids: what servers cannot write as a string."""
        return {piece: ids for piece, ids in self._spelled.items() if _REPLACEMENT in piece.decode("utf-8", "replace")}

    @cached_property
    def _longest_part(self) -> int:
        return max(map(len, self._parts), default=0)


def _unlink(way: tuple[int, Any]) -> tuple[int, ...]:
    ids: list[int] = []
    while way[1] is not None:
        ids.append(way[0])
        way = way[1]
    return tuple(reversed(ids))
