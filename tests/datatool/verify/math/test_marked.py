r"""What a closing sentence sets apart by bold type, dollars or backticks, and what it only mentions."""

import pytest

from mindgap_data.verify.math.marked import closing_marked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The vertex is at **(3, -1)**.", "(3, -1)"),
        ("The equation of the line is **y = 2x + 3**.", "y = 2x + 3"),
        ("The solutions are **x = 1** and **x = 2**.", "x = 1, x = 2"),
        ("So k = **-2** or k = **6**.", "-2, 6"),
        ("Thus, $x = 1$ or $x = -2$.", "x = 1, x = -2"),
        (r"$x = 1$. So the side is $2\sqrt{3}$.", r"2\sqrt{3}"),
        ("The area is **25** square meters.", "25 square meters"),
        ("The area is about **78.5 cm²**.", "about 78.5 cm²"),
        ("**Evelyn** has the greatest average speed.", "Evelyn"),
        ("So the derivative is `3*x**2`.", "3*x**2"),
        ("Therefore the area is\n\\[\n12\\pi\n\\]", r"12\pi"),
        ("```\n3*x + 1\n```", "3*x + 1"),
        ("The correct ones are **(A) 3** and **(B) 4**.", "A, B"),
    ],
)
def test_what_is_concluded(text: str, expected: str) -> None:
    assert closing_marked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        r"So the side is not $2\sqrt{3}$.",
        r"The side $2\sqrt{3}$ is long.",  # only mentioned
        "Evelyn is faster than **Carla**.",
        "Unlike **Carla**, Evelyn is fast.",
        "Is it **Tuesday**?",
        "We start with **15**.",
        "**7** of the 12 apples are red.",
        "**Note:** check the sign.",
        "She pays $5 and $6.",
        "Twice **12**.",
    ],
)
def test_what_is_not(text: str) -> None:
    assert closing_marked(text) is None
