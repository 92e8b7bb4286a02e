"""Fingerprints move when they should, and only then."""

from hypothesis import given
from hypothesis import strategies as st

from mindgap_data.fingerprints import content_id, template_fingerprint, tokenizer_fingerprint


def small_tokenizer(words, **special):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def test_tokenizer_fingerprint_moves_with_the_vocabulary_only():
    base = tokenizer_fingerprint(small_tokenizer(["a", "b", "c"]))
    assert base == tokenizer_fingerprint(small_tokenizer(["a", "b", "c"]))
    padded = small_tokenizer(["a", "b", "c"], padding_side="left")
    padded.pad_token = "c"
    assert tokenizer_fingerprint(padded) == base
    assert tokenizer_fingerprint(small_tokenizer(["a", "c", "b"])) != base
    assert tokenizer_fingerprint(small_tokenizer(["a", "b", "c"], pad_token="<pad>")) != base


def test_template_fingerprint_is_the_same_where_the_rendering_is():
    assert template_fingerprint("{{ x }}\n") == template_fingerprint("{{ x }}") == "sha256:e52c737297f7dad6"
    assert (
        template_fingerprint("{{ x }}", {}) == template_fingerprint("{{ x }}", {"a": None}) == "sha256:e52c737297f7dad6"
    )
    others = ["{{  x }}", "{{ x }}\n\n", "\n{{ x }}", "{{ x }} "]
    assert len({template_fingerprint(other) for other in ["{{ x }}", *others]}) == 5
    switched = {template_fingerprint("{{ x }}", {"enable_thinking": value}) for value in (True, False)}
    assert len({"sha256:e52c737297f7dad6", *switched}) == 3


@given(st.dictionaries(st.sampled_from(["role", "content", "name"]), st.text(), min_size=1), st.text())
def test_content_id_is_a_function_of_prompt_and_reference_alone(turn, reference):
    key = content_id([turn], reference)
    assert key == content_id([dict(reversed(list(turn.items())))], reference)
    assert key != content_id([turn], reference + "x")
    assert len(key) == 24
