"""What gap reads, and bad input: one clear line each, naming file, line, field and remedy."""

import gzip
import json

import pytest

from gap_records import make_record, write_records
from mindgap_data.errors import UserError
from mindgap_data.gap.figures import Settings
from mindgap_data.gap.measure import measure, refuse_mixed_policies

GOOD = make_record("self", [-1.0, -2.0], [-1.0, -2.0], [-3.0])
SETTINGS = Settings(resamples=10)
VALIDATE = "; `mindgap-data validate {}` lists every such row"


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
            "the row has no policy_logprobs; make the file with `mindgap-data rewrite`, or add them with "
            "`mindgap-data score`",
        ),
        (
            GOOD | {"provenance": GOOD["provenance"] | {"schema_version": 7}},
            "provenance.schema_version is 7; this mindgap reads version 1; update mindgap, or rewrite the file",
        ),
        (
            GOOD | {"policy_logprobs": [-1.0]},
            "policy_logprobs has 1 values for 2 response_token_ids{validate}",
        ),
        (
            GOOD | {"policy_logprobs": [-1.0, 0.5]},
            "policy_logprobs[1] is 0.5, not a log-probability{validate}",
        ),
        (
            GOOD | {"behavior_logprobs": None},
            "behavior_logprobs is null in a self row{validate}",
        ),
        (
            GOOD | {"tier": "other"},
            "field tier: input should be 'self', 'guided' or 'expert'{validate}",
        ),
        (
            GOOD | {"expert_logprobs": [-1.0, None]},
            "field expert_logprobs.1: input should be a valid number{validate}",
        ),
        (
            GOOD | {"provenance": GOOD["provenance"] | {"model": "other"}},
            "provenance.model is 'other', not 'tiny' as in line 1: log-probs of two policies cannot be pooled; "
            "split the file, or rescore it under one policy with --model",
        ),
        (
            GOOD | {"provenance": GOOD["provenance"] | {"adapter": "lora"}},
            "provenance.adapter is 'lora', not None as in line 1: log-probs of two policies cannot be pooled; "
            "split the file, or rescore it under one policy with --model",
        ),
        ('{"id": ', "not JSON: Expecting value at column 8"),
        ("[1, 2]", "a row must be a JSON object, not list"),
    ],
)
def test_a_bad_second_row_is_named(tmp_path, row, message):
    path = write_records(tmp_path / "a.jsonl", [GOOD, row])
    with pytest.raises(UserError) as error:
        measure(path, SETTINGS)
    assert error.value.message == f"{path}:2: {message.format(validate=VALIDATE.format(path))}"


def test_a_nan_is_named(tmp_path):
    path = write_records(tmp_path / "a.jsonl", [json.dumps(GOOD | {"policy_logprobs": [-1.0, float("nan")]})])
    with pytest.raises(UserError) as error:
        measure(path, SETTINGS)
    assert error.value.message == f"{path}:1: not JSON: NaN is not a JSON number"


def test_a_lone_surrogate_in_a_text_is_no_reason_to_refuse_the_row(tmp_path):
    path = write_records(tmp_path / "a.jsonl", [GOOD | {"expert": "\ud800"}])
    assert measure(path, SETTINGS).figures["all"].rows == 1


def test_files_of_different_policies_are_refused(tmp_path):
    one = measure(write_records(tmp_path / "a.jsonl", [GOOD]), SETTINGS)
    other = GOOD | {"provenance": GOOD["provenance"] | {"revision": "r2"}}
    two = measure(write_records(tmp_path / "b.jsonl", [other]), SETTINGS)
    with pytest.raises(UserError) as error:
        refuse_mixed_policies([one, one, two])
    assert error.value.message == (
        f"{tmp_path}/b.jsonl: provenance.revision is 'r2', not 'r1' as in {tmp_path}/a.jsonl: their gaps are to "
        "different policies; measure them one by one, or both under one policy with --model"
    )


def test_log_probs_are_of_the_policy_that_last_scored_the_row(tmp_path):
    def scored_by(model):
        policy = {"model": model, "revision": None, "adapter": None, "engine": "vllm", "dtype": None}
        return GOOD | {"provenance": GOOD["provenance"] | {"model": f"wrote-{model}", "policy": policy}}

    gap = measure(write_records(tmp_path / "a.jsonl", [scored_by("x")]), SETTINGS)
    assert gap.policy.model == "x"
    with pytest.raises(UserError) as error:
        measure(write_records(tmp_path / "b.jsonl", [scored_by("x"), scored_by("y")]), SETTINGS)
    assert error.value.message.startswith(f"{tmp_path}/b.jsonl:2: provenance.model is 'y', not 'x' as in line 1: ")


def test_a_gzipped_file_is_read(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert measure(path, SETTINGS).figures["all"].rows == 1
