"""JSON as the standard has it."""

from typing import Any

import pytest

from mindgap_data.verify.strict_json import loads, same


@pytest.mark.parametrize("text", ["NaN", '{"a": 1, "a": 2}', "{", "[" * 100_000, " " * 1_000_001 + "1"])
def test_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        loads(text)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1.0, True),
        (True, 1, False),
        ({"a": [1]}, {"a": [1.0]}, True),
        ([1, 2], [2, 1], False),
        (2**60, 2**60 + 1, False),
    ],
)
def test_same(left: Any, right: Any, equal: bool) -> None:
    assert same(left, right) is equal
