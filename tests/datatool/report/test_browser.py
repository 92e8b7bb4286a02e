"""What a report keeps of each row: codes that give the numbers back, honest samples, bounded texts."""

import math

import numpy as np
import pytest

from gap_records import make_record, write_records
from mindgap_data.report.browser import (
    CODE_LOW,
    CODE_STEP,
    MAX_TEXT,
    MAX_TOKENS,
    RowCollection,
    collect_rows,
    encode_lengths,
    encode_logprobs,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def decode(code):
    return [ALPHABET.index(a) * 64 + ALPHABET.index(b) for a, b in zip(code[::2], code[1::2], strict=True)]


def collect(tmp_path, rows, max_rows=100, seed=0):
    collection = RowCollection()
    gap_rows = list(collect_rows(write_records(tmp_path / "a.jsonl", rows), collection, None, max_rows, seed))
    assert len(gap_rows) == len(rows)
    return collection


def test_logprobs_come_back_to_half_a_step():
    values = np.array([0.0, -0.004, -1.2345, -29.99, 2.5])
    back = CODE_LOW + CODE_STEP * np.array(decode(encode_logprobs(values)))
    np.testing.assert_allclose(back, values, atol=CODE_STEP / 2 + 1e-9)


def test_logprobs_beyond_the_code_are_clamped():
    assert encode_logprobs(np.array([-1e9, 1e9])) == "AA//"


@pytest.mark.parametrize(("lengths", "code"), [([0, 1, 64], "AAABBA"), ([4096], None), ([], None)])
def test_lengths_are_coded_or_refused(lengths, code):
    assert encode_lengths(lengths) == code


def test_a_long_file_is_sampled_evenly_in_file_order(tmp_path):
    rows = [make_record("self", [-1.0], [-1.0], id=f"r{i}") for i in range(40)]
    hits = np.zeros(40)
    for seed in range(300):
        numbers = [number for number, _ in collect(tmp_path, rows, max_rows=10, seed=seed).shown]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 10
        hits[numbers] += 1
    # Binomial(300, 1/4): five standard deviations are 37.5.
    assert np.all(np.abs(hits - 75) < 37.5)


def test_the_row_keeps_its_own_numbers(tmp_path):
    attempts = {
        "self": {"sampled": 4, "correct": 0, "wrong": 3, "truncated": 1},
        "pass_rate": 0.0,
        "expert_overlap": 0.25,
    }
    rows = [make_record("guided", [-1.0, -3.0], [-0.5, -1.0], [-4.0], attempts=attempts)]
    collection = collect(tmp_path, rows)
    number, row = collection.shown[0]
    assert number == 0
    assert (row["q"], row["c"], row["e"]) == ("What is 2 + 3?", "It is 5.", "2 + 3 = 5.")
    assert (row["n"], row["m"], row["nll"]) == (2, 1, [2.0, 4.0])
    assert (row["pr"], row["ov"], row["f"], row["cut"]) == (0.0, 0.25, [], False)
    assert row["cp"] == encode_logprobs(np.array([-1.0, -3.0]))
    assert row["cw"] == encode_logprobs(np.array([-0.5, -2.0]))
    assert row["ep"] == encode_logprobs(np.array([-4.0]))
    assert collection.tally.draws["self"] == {
        "sampled": 4,
        "correct": 0,
        "wrong": 3,
        "truncated": 1,
        "no_answer": 0,
        "checker_error": 0,
        "leaked": 0,
        "bare": 0,
    }


def test_a_row_without_expert_scores_or_pass_rate_holds_nulls(tmp_path):
    collection = collect(tmp_path, [make_record("self", [-1.0], [-1.0], attempts={"pass_rate": None})])
    row = collection.shown[0][1]
    assert (row["nll"], row["m"], row["pr"], row["ov"]) == ([1.0, None], 0, None, None)
    assert "ep" not in row
    assert math.isnan(collection.pass_rate[0])


def test_megabyte_texts_and_token_lists_are_cut_and_say_so(tmp_path):
    long = make_record("self", [-1.0] * 9000, [-1.0] * 9000, [-2.0], response="x" * 2_000_000)
    row = collect(tmp_path, [long]).shown[0][1]
    assert (len(row["c"]), len(row["cp"]), row["cut"], row["n"]) == (MAX_TEXT, 2 * MAX_TOKENS, True, 9000)


def test_a_row_carries_what_the_audit_would_say_of_it(tmp_path):
    leaky = make_record("guided", [-1.0], [-1.0], response="As the given solution shows, it is 5.")
    expert = make_record("expert", [-1.0], response="As the given solution shows, it is 5.")
    collection = collect(tmp_path, [leaky, expert])
    assert [row["f"] for _, row in collection.shown] == [[["leak", "says 'the given solution'"]], []]
    assert collection.tally.faulty["leak"] == {"guided": 1}
