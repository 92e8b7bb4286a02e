r"""The last box of a text."""

import pytest

from mindgap_data.verify.boxes import last_boxed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\fbox{5}", "5"),
        (r"\boxed 5$", "5"),
        (r"\boxed{\left\{1,2\right\}}", r"\left\{1,2\right\}"),  # escaped braces do not count
        (r"{ { \boxed{5}", "5"),
        (r"\boxed{5} and \boxed{6", "5"),
        (r"\boxed{5", None),
        ("5", None),
    ],
)
def test_last_boxed(text: str, expected: str | None) -> None:
    assert last_boxed(text) == expected
