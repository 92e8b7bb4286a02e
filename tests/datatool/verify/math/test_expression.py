r"""What the parser of expressions refuses; what it reads is tested by value in test_evaluation."""

import pytest

from mindgap_data.verify.math.expression import UnsupportedError, parse


@pytest.mark.parametrize(
    "text",
    ["", "1 2", "apples", "(", "5)", r"\foo{1}", "f(x)", "x'", "5%", "(" * 60 + "x" + ")" * 60, "1+" * 400 + "1"],
)
def test_unsupported(text: str) -> None:
    with pytest.raises(UnsupportedError):
        parse(text)
