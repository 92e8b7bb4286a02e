r"""Plain numbers and their units."""

from fractions import Fraction

import pytest

from mindgap_data.verify.math.plain import parse_plain, same_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("\u22123", -3),
        ("1,234,567", 1234567),
        ("1{,}234", 1234),
        (r"1\,000", 1000),
        (r"11,\! 111", 11111),
        ("1 000 000", 10**6),
        (".5", Fraction(1, 2)),
        ("1/3", Fraction(1, 3)),
        (r"\frac59", Fraction(5, 9)),
        (r"\frac{270}7\text{ degrees}", Fraction(270, 7)),
        (r"137 \frac{1}{2}", Fraction(275, 2)),
        ("-1 1/2", Fraction(-3, 2)),
        ("1.77e-6", Fraction(177, 10**8)),
        (r"1.77 \times 10^{-6}", Fraction(177, 10**8)),
        ("10^{-6}", Fraction(1, 10**6)),
        (r"\$18.90", Fraction(189, 10)),
        ("5 million dollars", 5_000_000),
        ("9 (apples)", 9),
        ("$12$", 12),
    ],
)
def test_value(text: str, value: Fraction | int) -> None:
    quantity = parse_plain(text)
    assert quantity is not None
    assert quantity.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5x",
        "5!",
        "1/0",
        "5 or 6",
        "5 - 3",
        "3 i",
        "12, 345",
        "1,23",
        "9" * 401,
        "1e401",
        "\u0665",
        "5 squared",
        "\x005",
    ],
)
def test_no_plain_number(text: str) -> None:
    assert parse_plain(text) is None


@pytest.mark.parametrize(
    ("gold", "other"),
    [
        ("5", "5.0"),
        ("5", "5 cm"),
        ("5 cm", "5"),
        ("1 m", "100 cm"),
        ("24 cm^2", r"24\text{ square centimeters}"),
        ("60 mph", "60 miles per hour"),
        ("12 apples", "12 red apples"),
        ("$5", "500 cents"),
        ("50%", "0.5"),
        ("50%", "50"),
        ("50", r"50\%"),
        ("1/3", "0.333333"),
    ],
)
def test_same(gold: str, other: str) -> None:
    left, right = parse_plain(gold), parse_plain(other)
    assert left is not None
    assert right is not None
    assert same_quantity(left, right)


@pytest.mark.parametrize(
    ("gold", "other"),
    [
        ("5", "5.000001"),
        ("5 cm", "5 m"),
        ("24 cm^2", "24 cm"),
        ("12 apples", "12 oranges"),
        ("50%", "50 apples"),
        ("0.5", "0.5%"),
        ("5", "5 million"),
        ("1/3", "0.33333"),
        ("1/3", "0.333334"),
        ("0.333333", "0.3333333"),
    ],
)
def test_different(gold: str, other: str) -> None:
    left, right = parse_plain(gold), parse_plain(other)
    assert left is not None
    assert right is not None
    assert not same_quantity(left, right)
