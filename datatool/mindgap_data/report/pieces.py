"""Which characters of a text each token stands for, by the tokenizer's own streaming decoder."""

from collections.abc import Sequence
from typing import Any

from mindgap_data.errors import UserError


class TokenPieces:
    """Cuts texts at their tokens' boundaries."""

    def __init__(self, tokenizer: Any) -> None:
        """Wrap a transformers tokenizer backed by the tokenizers library.

        Raises:
            UserError: when it is not.
        """
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UserError("the tokenizer has no fast version, which token colours need; pass --tokenizer none")
        self._backend = backend

    def lengths(self, ids: Sequence[int], text: str) -> list[int] | None:
        """UTF-16 units of ``text`` that each id adds, or None when the ids do not spell the text.

        A token that ends inside a character adds nothing, and the one that completes it the whole
        character. The end-of-turn token, which the text does not have, adds nothing either.
        """
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=False)
        lengths: list[int] = []
        at = 0
        for token in ids:
            try:
                piece = stream.step(self._backend, token) or ""
            except Exception:  # noqa: BLE001 - the library raises bare Exception for bytes that are no UTF-8
                return None
            if text.startswith(piece, at):
                at += len(piece)
                lengths.append(len(piece.encode("utf-16-le", "surrogatepass")) // 2)
            elif at == len(text):
                lengths.append(0)
            else:
                return None
        return lengths
