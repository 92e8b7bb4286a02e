"""Token boundaries in texts, by a real byte-level tokenizer."""

import pytest

from mindgap_data.errors import UserError
from mindgap_data.report.pieces import TokenPieces
from tiny import save_tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save_tiny_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("ab c", [1, 1, 1, 1]),
        ("é!", [0, 1, 1]),  # two bytes, two tokens, one character
        ("中", [0, 0, 1]),
        ("\U0001f600x", [0, 0, 0, 2, 1]),  # outside the basic plane: two UTF-16 units
        ("", []),
    ],
)
def test_every_token_gets_the_characters_it_completes(tokenizer, text, lengths):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert TokenPieces(tokenizer).lengths(ids, text) == lengths
    # The end of the turn stands in the ids and not in the text.
    assert TokenPieces(tokenizer).lengths([*ids, tokenizer.eos_token_id], text) == [*lengths, 0]


def test_ids_of_another_text_have_no_boundaries_here(tokenizer):
    ids = tokenizer("abc", add_special_tokens=False)["input_ids"]
    assert TokenPieces(tokenizer).lengths(ids, "axc") is None


def test_a_text_cut_by_the_report_keeps_the_boundaries_it_has(tokenizer):
    ids = tokenizer("abcd", add_special_tokens=False)["input_ids"]
    assert TokenPieces(tokenizer).lengths(ids[:2], "abcd") == [1, 1]


def test_an_unknown_id_gives_no_boundaries_and_no_crash(tokenizer):
    assert TokenPieces(tokenizer).lengths([10**6], "a") in (None, [0])


def test_a_tokenizer_without_a_fast_version_is_refused():
    with pytest.raises(UserError) as error:
        TokenPieces(object())
    assert error.value.message == ("the tokenizer has no fast version, which token colours need; pass --tokenizer none")
