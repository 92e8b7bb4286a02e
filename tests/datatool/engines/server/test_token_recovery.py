"""Ids from token strings: exact or none, never a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mindgap_data.engines.server.token_recovery import TokenRecovery
from mindgap_data.policy.chat import ChatTokenizer
from tiny import CHATML

# Byte-level names: Ġ is a space, â Ĥ ¬ the bytes of the euro sign.
MERGES = [("a", "b"), ("Ġ", "a"), ("Ġa", "b"), ("â", "Ĥ"), ("âĤ", "¬"), ("Ã", "©")]


def byte_level() -> ChatTokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [*alphabet, *(left + right for left, right in MERGES)]
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return wrap(backend)


def sentencepiece() -> ChatTokenizer:
    names = [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", "a", "b", "▁a", "ab", "▁ab", "é"]
    backend = Tokenizer(models.BPE(vocab={name: i for i, name in enumerate(names)}, merges=[], byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return wrap(backend)


def wrap(backend: Tokenizer) -> ChatTokenizer:
    hf = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    hf.chat_template = CHATML
    return ChatTokenizer(hf, "tiny")


BYTES = byte_level()
PIECES = sentencepiece()
RECOVERY = {"bytes": TokenRecovery(BYTES), "pieces": TokenRecovery(PIECES)}


def ids_of(tokenizer: ChatTokenizer, *names: str) -> tuple[int, ...]:
    return tuple(tokenizer.hf.convert_tokens_to_ids(list(names)))


CASES = [
    # vocabulary, the ids' names, token strings as served, text as served
    ("bytes", ["ab"], ["ab"], "ab"),
    ("bytes", ["a", "b"], ["a", "b"], "ab"),  # not the tokeniser's own cut, but what was drawn
    ("bytes", ["Ġa", "b"], [" a", "b"], " ab"),
    ("bytes", ["Ġa", "b"], ["Ġa", "b"], " ab"),  # names instead of texts
    ("bytes", ["ab", "<|im_end|>"], ["ab", "<|im_end|>"], "ab"),  # the end in the tokens but not in the text
    ("bytes", ["ab", "<|im_end|>"], ["ab", "<|im_end|>"], "ab<|im_end|>"),
    ("bytes", ["<|im_end|>"], ["<|im_end|>"], ""),
    ("bytes", ["â", "Ĥ", "¬"], ["�", "�", "�"], "€"),  # three parts of one character: only one cut has three
    ("bytes", ["âĤ", "¬"], ["�", "�"], "€"),
    ("bytes", ["âĤ", "¬"], ["", "€"], "€"),  # vLLM: nothing, then the whole character
    ("bytes", ["âĤ¬"], ["€"], "€"),
    ("bytes", ["â", "Ĥ", "¬"], ["bytes:\\xe2", "bytes:\\x82", "bytes:\\xac"], "€"),  # OpenAI's spelling
    ("bytes", ["a", "Ã", "©", "b"], ["a", "�", "�", "b"], "aéb"),
    ("pieces", ["é", "▁ab"], ["é", " ab"], "é ab"),
    ("pieces", ["é", "▁ab"], ["é", "▁ab"], "é ab"),
    ("pieces", ["▁ab", "é"], ["▁ab", "é"], " abé"),
    ("pieces", ["é", "<0xE2>", "<0x82>", "<0xAC>"], ["é", "", "", "€"], "é€"),
]


@pytest.mark.parametrize(("vocabulary", "names", "tokens", "text"), CASES)
def test_unique_ids_are_recovered(vocabulary: str, names: list[str], tokens: list[str], text: str) -> None:
    tokenizer = BYTES if vocabulary == "bytes" else PIECES
    assert RECOVERY[vocabulary].ids(tokens, text) == ids_of(tokenizer, *names)


REFUSED = [
    ("bytes", ["xyz"], "xyz", "a token the vocabulary does not have"),
    ("bytes", ["a"], "b", "tokens that do not spell the text"),
    ("bytes", ["a", "b"], "abb", "tokens that spell less than the text"),
    ("bytes", ["�", "�"], "éÃ", "a text that no two partial tokens spell"),
    ("bytes", ["�"], "�", "a broken byte, which the text does not tell"),
    ("bytes", [], "a", "no tokens at all"),
    ("pieces", ["ab", "é"], "abé", "SentencePiece decodes ab and ▁ab alike at the start of a text"),
    ("pieces", ["é", "b"], "éb", "b may be the letter's token or the byte's, <0x62>"),
]


@pytest.mark.parametrize(("vocabulary", "tokens", "text", "why"), REFUSED)
def test_anything_else_is_refused(vocabulary: str, tokens: list[str], text: str, why: str) -> None:
    assert RECOVERY[vocabulary].ids(tokens, text) is None, why


@given(
    st.lists(
        st.sampled_from(["a", "b", "ab", "Ġ", "Ġa", "Ġab", "â", "Ĥ", "¬", "âĤ", "âĤ¬", "Ã", "©", "Ã©"]), max_size=12
    )
)
def test_never_wrong_ids(names: list[str]) -> None:
    """Whatever was drawn, recovery gives exactly that or nothing."""
    ids = ids_of(BYTES, *names)
    tokens = [BYTES.decode([token]) for token in ids]
    found = RECOVERY["bytes"].ids(tokens, BYTES.decode(ids))
    assert found in (ids, None)
    if "�" not in "".join(tokens):
        assert found == ids
