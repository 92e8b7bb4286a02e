r"""Variants of the answers that the mathematics verifier used to refuse, and of wrong twins beside them.

Each kind of answer has parameters drawn at random, several spellings of one value, and parameters of other
values. A pair is right exactly when both sides are spelled from the same parameters, so no label comes from
a verifier. The spellings were written in three batches, each judged once before the verifier was corrected for
it; docs/verifiers.md has the figures.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Parameters = Any
Spelling = Callable[[Any], str]


@dataclass(frozen=True)
class Variant:
    """One labelled pair."""

    kind: str
    spelling: str  # "reference spelling > response spelling"
    answer: str
    response: str
    correct: bool
    row: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of answer: how its values are drawn, changed into others, and spelled."""

    name: str
    draw: Callable[[random.Random], Parameters]
    others: Callable[[random.Random, Parameters], Sequence[Parameters]]
    references: dict[str, Spelling]
    responses: dict[str, Spelling]  # whole responses
    row: Callable[[Parameters], dict[str, Any]] = lambda _: {}


def variants(seed: int, a_spelling: int) -> Iterator[Variant]:
    """Every pair of spellings of every kind, ``a_spelling`` times, right once and wrong as often as there are twins."""
    for kind in KINDS:
        generator = random.Random(f"{seed} {kind.name}")
        for reference, spell_reference in kind.references.items():
            for response, spell_response in kind.responses.items():
                for _ in range(a_spelling):
                    drawn = kind.draw(generator)
                    answer, row = spell_reference(drawn), kind.row(drawn)
                    name = f"{reference} > {response}"
                    yield Variant(kind.name, name, answer, spell_response(drawn), True, row)
                    for other in kind.others(generator, drawn):
                        yield Variant(kind.name, name, answer, spell_response(other), False, row)


# --- helpers of the spellings --------------------------------------------------------------------


def boxed(text: str) -> str:
    return rf"So the answer is $\boxed{{{text}}}$."


def in_box(spell: Spelling) -> Spelling:
    return lambda drawn: boxed(spell(drawn))


def boxes(spellings: dict[str, Spelling]) -> dict[str, Spelling]:
    return {name: in_box(spell) for name, spell in spellings.items()}


def frac(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def two(generator: random.Random) -> tuple[int, int]:
    first, second = sorted(generator.sample(range(-20, 40), 2))
    return first, second


# --- several boxes -------------------------------------------------------------------------------


def other_pairs(generator: random.Random, drawn: tuple[int, int]) -> list[tuple[int, int]]:
    a, b = drawn
    step = generator.choice((-3, -1, 1, 3)) * 41
    return [(a, b + step), (a + step, b)]


SEVERAL_BOXES = Kind(
    "several boxes",
    two,
    other_pairs,
    {
        "comma": lambda p: f"{p[0]}, {p[1]}",
        "plain or": lambda p: f"{p[0]} or {p[1]}",
        "or": lambda p: rf"{p[0]} \text{{ or }} {p[1]}",
        "x equals": lambda p: f"x = {p[0]}, x = {p[1]}",
        "set": lambda p: rf"\{{{p[0]}, {p[1]}\}}",
    },
    {
        "text and": lambda p: rf"The roots are $\boxed{{{p[0]}}} \quad \text{{and}} \quad \boxed{{{p[1]}}}$.",
        "text or": lambda p: rf"$x=\boxed{{{p[0]}}}\text{{ or }}x=\boxed{{{p[1]}}}$",
        "as well as": lambda p: rf"The roots are $\boxed{{{p[0]}}}$ as well as $\boxed{{{p[1]}}}$.",
        "and also": lambda p: rf"We get $\boxed{{{p[0]}}}$ and also $\boxed{{{p[1]}}}$.",
        "or else": lambda p: rf"It is either $\boxed{{{p[0]}}}$ or else $\boxed{{{p[1]}}}$.",
        "qquad": lambda p: rf"\[\boxed{{{p[0]}}} \qquad \boxed{{{p[1]}}}\]",
        "x1 and x2": lambda p: rf"$x_1 = \boxed{{{p[0]}}}$ and $x_2 = \boxed{{{p[1]}}}$",
        "bold": lambda p: rf"**$\boxed{{{p[0]}}}$** and **$\boxed{{{p[1]}}}$**",
        "line break": lambda p: rf"\[\boxed{{{p[0]}}} \\ \boxed{{{p[1]}}}\]",
        "while": lambda p: rf"One is $\boxed{{{p[0]}}}$ while the other is $\boxed{{{p[1]}}}$.",
        "respectively": lambda p: rf"The values are $\boxed{{{p[0]}}}$ and $\boxed{{{p[1]}}}$, respectively.",
        "two displays": lambda p: rf"$$\boxed{{{p[0]}}}$$ and $$\boxed{{{p[1]}}}$$",
        "numbered": lambda p: f"1. $\\boxed{{{p[0]}}}$\n2. $\\boxed{{{p[1]}}}$",
        "comma or": lambda p: rf"It is $\boxed{{{p[0]}}},$ or $\boxed{{{p[1]}}}$.",
        "x in both": lambda p: rf"\[\boxed{{x = {p[0]}}} \text{{ and }} \boxed{{x = {p[1]}}}\]",
        "thin spaces": lambda p: rf"\[\boxed{{{p[0]}}}\,,\;\boxed{{{p[1]}}}\]",
        "lines": lambda p: f"The solutions are:\n\n- $\\boxed{{{p[0]}}}$\n- $\\boxed{{{p[1]}}}$",
        "with x": lambda p: rf"Hence $x = \boxed{{{p[0]}}}$ and $x = \boxed{{{p[1]}}}$.",
        "with indices": lambda p: rf"\[x_1 = \boxed{{{p[0]}}}, \quad x_2 = \boxed{{{p[1]}}}\]",
        "display lines": lambda p: f"\\[\\boxed{{x = {p[0]}}}\\]\nand\n\\[\\boxed{{x = {p[1]}}}\\]",
        "semicolon": lambda p: rf"$\boxed{{{p[0]}}}$; $\boxed{{{p[1]}}}$",
        "and the other is": lambda p: rf"One root is $\boxed{{{p[0]}}}$ and the other is $\boxed{{{p[1]}}}$.",
        "ampersand": lambda p: rf"\[\boxed{{{p[0]}}} \;\;\&\;\; \boxed{{{p[1]}}}\]",
    },
)

# What came before the last box was a step: only the last one counts.
LAST_BOX = Kind(
    "last of several boxes",
    two,
    lambda generator, p: [(p[1], p[0]), (p[0], p[1] + 7)],
    {"number": lambda p: str(p[1])},
    {
        "hence": lambda p: rf"First, $a = \boxed{{{p[0]}}}$. Hence the total is $\boxed{{{p[1]}}}$.",
        "giving": lambda p: rf"There are $\boxed{{{p[0]}}}$ of them, giving $\boxed{{{p[1]}}}$.",
        "finally": lambda p: rf"The side is $\boxed{{{p[0]}}}$. Finally, the area is $\boxed{{{p[1]}}}$.",
        "so": lambda p: rf"As the side is $\boxed{{{p[0]}}}$, the area is $\boxed{{{p[1]}}}$.",
        "next paragraph": lambda p: f"So we have \\boxed{{{p[0]}}} of them.\n\nIn total there are \\boxed{{{p[1]}}}.",
        "steps": lambda p: f"Step 1: $\\boxed{{{p[0]}}}$\nStep 2: doubling that and adding gives $\\boxed{{{p[1]}}}$",
        "then": lambda p: rf"It is $\boxed{{{p[0]}}}$ at first, then $\boxed{{{p[1]}}}$ at the end.",
    },
)


# --- options -------------------------------------------------------------------------------------

LETTERS = "ABCDE"


def draw_choice(generator: random.Random) -> tuple[int, list[int]]:
    return generator.randrange(5), generator.sample(range(2, 400), 5)


def choice_row(p: tuple[int, list[int]]) -> dict[str, Any]:
    return {"choices": [str(value) for value in p[1]]}


def letter(p: tuple[int, list[int]]) -> str:
    return LETTERS[p[0]]


def value(p: tuple[int, list[int]]) -> str:
    return str(p[1][p[0]])


OPTIONS = Kind(
    "option with text",
    draw_choice,
    lambda generator, p: [((p[0] + generator.randrange(1, 5)) % 5, p[1])],
    {
        "letter": letter,
        "dot": lambda p: f"{letter(p)}. {value(p)}",
        "text letter": lambda p: rf"\text{{({letter(p)})}}",
        "letter and value": lambda p: f"({letter(p)}) {value(p)}",
        "value": value,
        "bold letter": lambda p: rf"\textbf{{({letter(p)})}}\ {value(p)}",
    },
    {
        "bold together": lambda p: f"So the answer is **({letter(p)}) {value(p)}**.",
        "bold in brackets": lambda p: f"The answer is (**{letter(p)}**) {value(p)}.",
        "answer is option": lambda p: f"Therefore, the correct answer is option **{letter(p)}**.",
        "boxed option": lambda p: rf"\boxed{{\text{{Option {letter(p)}}}}}",
        "boxed dot": lambda p: rf"$\boxed{{{letter(p)}. \ {value(p)}}}$",
        "mathbf bracket": lambda p: rf"$\boxed{{\mathbf{{({letter(p)})}}}}$",
        "choice word": lambda p: f"The correct choice is **({letter(p)})** {value(p)}.",
        "italic": lambda p: f"The answer is *({letter(p)}) {value(p)}*.",
        "boxed whole text": lambda p: rf"\boxed{{\text{{({letter(p)}) {value(p)}}}}}",
        "boxed rm": lambda p: rf"$\boxed{{\rm ({letter(p)})\ {value(p)}}}$",
        "answer colon bold": lambda p: f"Therefore, the answer is: **{letter(p)}**",
        "bold letter": lambda p: f"The correct answer is **{letter(p)}**: {value(p)}.",
        "bold letter dot": lambda p: f"**Answer:** **{letter(p)}.** {value(p)}",
        "bold label": lambda p: f"**Answer: {letter(p)}) {value(p)}**",
        "boxed textbf": lambda p: rf"$\boxed{{\textbf{{({letter(p)})}}\ {value(p)}}}$",
        "boxed textbf closing": lambda p: rf"$\boxed{{\textbf{{{letter(p)}) }} {value(p)}}}$",
        "boxed text colon": lambda p: rf"$\boxed{{\text{{{letter(p)}: }}{value(p)}}}$",
        "boxed mathrm": lambda p: rf"$\boxed{{\mathrm{{({letter(p)})}}\quad {value(p)}}}$",
        "boxed dollars": lambda p: rf"\boxed{{\text{{({letter(p)}) ${value(p)}$}}}}",
        "option word": lambda p: f"The correct option is **{letter(p)}. {value(p)}**",
        "which is": lambda p: rf"$\boxed{{\text{{{letter(p)}, which is {value(p)}}}}}$",
        "dash": lambda p: rf"The answer is **{letter(p)} \u2013 {value(p)}**.".replace(r"\u2013", "\u2013"),
        "bracket value": lambda p: f"The answer is **{letter(p)}** ({value(p)}).",
        "equals": lambda p: rf"$\boxed{{\textbf{{({letter(p)})}} = {value(p)}}}$",
        "bold in box": lambda p: rf"$\boxed{{\mathbf{{{letter(p)}}}.\ {value(p)}}}$",
    },
    choice_row,
)


def draw_letters(generator: random.Random) -> tuple[str, ...]:
    return tuple(sorted(generator.sample("ABCDEF", generator.choice((2, 3)))))


def other_letters(generator: random.Random, p: tuple[str, ...]) -> list[tuple[str, ...]]:
    missing = [name for name in "ABCDEF" if name not in p]
    return [(*p[:-1], missing[0]), p[1:] if len(p) > 2 else (*p, missing[-1]), (*p, missing[0])]


def listed(p: Sequence[str]) -> str:
    return ", ".join(p[:-1]) + (", and " if len(p) > 2 else " and ") + p[-1]


SEVERAL_LETTERS = Kind(
    "several letters",
    draw_letters,
    other_letters,
    {
        "commas": ", ".join,
        "tight commas": ",".join,
        "semicolon": "; ".join,
        "together": "".join,
        "text": lambda p: rf"\text{{{listed(p)}}}",
        "brackets": lambda p: ", ".join(f"({name})" for name in p),
    },
    {
        **boxes(
            {
                "commas": ", ".join,
                "tight commas": ",".join,
                "together": "".join,
                "text": lambda p: rf"\text{{{', '.join(p)}}}",
                "text and": lambda p: rf"\text{{{listed(p)}}}",
                "each in text": lambda p: ", ".join(rf"\text{{{name}}}" for name in p),
                "brackets": lambda p: ", ".join(f"({name})" for name in p),
                "text brackets": lambda p: ", ".join(rf"\text{{({name})}}" for name in p),
                "textbf": lambda p: rf"\textbf{{{''.join(p)}}}",
                "spaces": lambda p: rf"\text{{{' '.join(p)}}}",
                "set": lambda p: rf"\{{{', '.join(p)}\}}",
                "other order": lambda p: ", ".join(p[::-1]),
                "quad": lambda p: r",\quad ".join(p),
                "textit": lambda p: rf"\textit{{{listed(p)}}}",
                "mathsf": lambda p: rf"\mathsf{{{chr(44).join(p)}}}",
                "textbf each": lambda p: ", ".join(rf"\textbf{{{name}}}" for name in p),
                "mathrm together": lambda p: rf"\mathrm{{{''.join(p)}}}",
                "only": lambda p: rf"\text{{{listed(p)} only}}",
                "options": lambda p: rf"\text{{Options {listed(p)}}}",
                "semicolons": "; ".join,
                "ampersand": lambda p: rf"\text{{{' & '.join(p)}}}",
            }
        ),
        "answer line": lambda p: f"**Answer:** {listed(p)}",
    },
)


# --- sentences and remarks -----------------------------------------------------------------------


def draw_count(generator: random.Random) -> int:
    return generator.randrange(2, 5000)


def other_counts(generator: random.Random, n: int) -> list[int]:
    return [n + generator.choice((-1, 1, 10, 5001))]


SENTENCES = Kind(
    "sentence",
    draw_count,
    other_counts,
    {"number": str, "dollars": lambda n: rf"\${n}", "thousands": lambda n: f"{n:,}"},
    {
        "text sentence": lambda n: rf"\boxed{{\text{{The total is }} {n}}}",
        "this gives": lambda n: rf"\boxed{{\text{{This gives }} {n}}}",
        "amount": lambda n: rf"\boxed{{\text{{Amount}} = {n}}}",
        "hashes pays": lambda n: f"We add them up.\n#### John pays {n} in total.",
        "it costs": lambda n: rf"\boxed{{\text{{It costs {n}}}}}",
        "solution is": lambda n: f"Therefore, the solution is $x = {n}$.",
        "will be": lambda n: rf"\boxed{{\text{{The price will be }} {n}}}",
        "sold": lambda n: rf"\boxed{{\text{{He sold it for {n}}}}}",
        "hashes total": lambda n: f"We add them up.\n#### Total: {n}",
        "comes out": lambda n: f"The answer is that the price comes out to {n}.",
        "thus": lambda n: rf"\boxed{{\text{{Thus, }} {n}}}",
        "answer in box": lambda n: rf"\boxed{{\text{{Answer: }}{n}}}",
        "bold whole": lambda n: f"**Final Answer: The number of ways is {n}.**",
        "text whole": lambda n: rf"\boxed{{\text{{The total is {n}.}}}}",
        "text tom has": lambda n: rf"\boxed{{\text{{Tom has }}{n}\text{{ left}}}}",
        "text there are": lambda n: rf"\boxed{{\text{{There are {n} ways}}}}",
        "hashes": lambda n: f"We add them up.\n#### She has {n} left",
        "hashes answer": lambda n: f"We add them up.\n#### The answer is {n}.",
        "there are": lambda n: f"The answer is: there are {n} ways.",
        "bold final": lambda n: f"**Final answer:** The total comes to {n}.",
        "answer tags": lambda n: f"<answer>The result is {n}</answer>",
        "value of": lambda n: rf"\boxed{{\text{{the value of }} x \text{{ is }} {n}}}",
        "bare sentence": lambda n: rf"\boxed{{The answer is {n}}}",
        "equals sentence": lambda n: rf"\boxed{{\text{{Total cost}} = {n}}}",
        "they need": lambda n: rf"\boxed{{\text{{They need to pay {n} in total}}}}",
        "must be": lambda n: rf"\boxed{{\text{{The number must be }} {n}}}",
        "heading": lambda n: f"## Final Answer\n\nThe train takes {n}.",
        "comma sentence": lambda n: rf"\boxed{{\text{{In total, she counted {n:,}}}}}",
    },
)

REMARKS = Kind(
    "remark",
    draw_count,
    other_counts,
    {"number": str, "equation": lambda n: f"x = {n}"},
    {
        "rounded": lambda n: f"The answer is {n} (rounded to the nearest integer).",
        "exactly behind": lambda n: rf"\boxed{{{n} \text{{ exactly}}}}",
        "pigeonhole": lambda n: rf"\boxed{{{n} \text{{ by the pigeonhole principle}}}}",
        "bracket text since": lambda n: rf"\boxed{{{n}\ (\text{{since }} k > 2)}}",
        "see step": lambda n: f"The answer is **{n}** (see step 2).",
        "dash": lambda n: f"The answer is {n} -- all of them.",
        "altogether": lambda n: rf"\boxed{{{n} \text{{ (altogether)}}}}",
        "see table": lambda n: f"#### {n} (see the table above)",
        "exact": lambda n: rf"\boxed{{{n} \text{{ (exact)}}}}",
        "where": lambda n: rf"\boxed{{{n}, \text{{ where }} k \text{{ is fixed}}}}",
        "minimum": lambda n: rf"\boxed{{{n} \text{{ (the minimum is reached at }} x = 1)}}",
        "text since": lambda n: rf"\boxed{{{n} \text{{ (since }} x > 0)}}",
        "text rejecting": lambda n: rf"\boxed{{x = {n} \text{{ (rejecting }} x = -{n + 3})}}",
        "text remark": lambda n: rf"\boxed{{{n}\ \text{{(the other root is negative)}}}}",
        "plain remark": lambda n: rf"\boxed{{{n} (as required)}}",
        "hashes remark": lambda n: f"#### {n} (that is, all of them)",
        "after bold": lambda n: f"**Answer:** **{n}** (see above)",
        "text comma": lambda n: rf"\boxed{{{n}, \text{{ as required}}}}",
        "not other": lambda n: rf"\boxed{{{n} \text{{ (not {n + 17})}}}}",
        "exactly": lambda n: rf"\boxed{{\text{{exactly }} {n}}}",
        "square brackets": lambda n: f"The final answer is {n} [assuming no ties].",
        "i.e.": lambda n: rf"\boxed{{{n} \text{{ (i.e. the larger value)}}}}",
        "quad text": lambda n: rf"\boxed{{{n} \quad \text{{(by symmetry)}}}}",
        "for all": lambda n: rf"\boxed{{{n} \text{{ for every }} k}}",
        "check mark": lambda n: rf"\boxed{{{n}}} \checkmark",
        "in total": lambda n: rf"\boxed{{x = {n} \text{{ only}}}}",
    },
)


def open_sentences(generator: random.Random) -> Iterator[Variant]:
    """Wrong whatever the number: nothing is settled on."""
    for name, spell in {
        "about half": lambda n: rf"\boxed{{\text{{about half of }} {n}}}",
        "third of": lambda n: rf"\boxed{{\text{{a third of }} {n}}}",
        "square of": lambda n: rf"\boxed{{\text{{the square of }} {n}}}",
        "square root": lambda n: rf"\boxed{{\text{{The answer is the square root of }} {n}}}",
        "or so": lambda n: rf"\boxed{{{n} \text{{ or so}}}}",
        "no more than": lambda n: rf"\boxed{{\text{{no more than }} {n}}}",
        "would be": lambda n: rf"\boxed{{\text{{It would be }} {n} \text{{ if it rained}}}}",
        "times as many": lambda n: rf"\boxed{{\text{{She has {n} times as many}}}}",
        "is less than": lambda n: rf"\boxed{{\text{{The total is less than }} {n}}}",
        "before": lambda n: rf"\boxed{{\text{{Cost: }} {n} + 3}}",
        "each": lambda n: rf"\boxed{{\text{{The total is 7 boxes of {n}}}}}",
        "remark double": lambda n: rf"\boxed{{{n} \text{{ (to be doubled)}}}}",
        "undecided": lambda n: rf"$\boxed{{{n}}}$ or maybe $\boxed{{{n + 5}}}$",
        "label range": lambda n: rf"\boxed{{\text{{Range: }} {n} - {n + 8}}}",
        "point": lambda n: rf"\boxed{{\text{{Thus }} ({n}, 2)}}",
        "dozens": lambda n: rf"\boxed{{{n} \text{{ dozen}}}}",
        "either": lambda n: rf"\boxed{{\text{{either }} {n} \text{{ or }} {n + 3}}}",
        "almost": lambda n: rf"\boxed{{\text{{almost }} {n}}}",
        "twice behind": lambda n: rf"\boxed{{{n} \text{{ (twice)}}}}",
        "sum of": lambda n: rf"\boxed{{\text{{The sum of }} {n} \text{{ and }} 4}}",
        "minus": lambda n: rf"\boxed{{\text{{minus }} {n}}}",
        "thousand": lambda n: rf"\boxed{{{n} \text{{ thousand}}}}",
        "cannot": lambda n: rf"\boxed{{\text{{It cannot be }} {n}}}",
        "all but": lambda n: rf"\boxed{{\text{{all but }} {n}}}",
        "up to": lambda n: rf"\boxed{{\text{{up to }} {n}}}",
        "times two": lambda n: rf"\boxed{{{n} \text{{ times }} 2}}",
        "remark corrects": lambda n: rf"\boxed{{{n} \text{{ (it should be {n + 1})}}}}",
        "sentence with sum": lambda n: rf"\boxed{{\text{{She has {n} more than Ann}}}}",
        "less remark": lambda n: rf"\boxed{{{n} \text{{ (less the tax)}}}}",
        "or in brackets": lambda n: rf"\boxed{{{n} \text{{ (or {n + 2})}}}}",
        "of": lambda n: rf"\boxed{{\text{{{n + 9} of the {n} apples}}}}",
        "not": lambda n: rf"\boxed{{\text{{not }} {n}}}",
        "is not": lambda n: rf"\boxed{{\text{{The total is not {n}}}}}",
        "more than": lambda n: rf"\boxed{{\text{{more than }} {n}}}",
        "at least": lambda n: rf"\boxed{{\text{{There are at least {n} ways}}}}",
        "between": lambda n: rf"\boxed{{\text{{between {n - 1} and {n}}}}}",
        "twice": lambda n: rf"\boxed{{\text{{The total is twice {n}}}}}",
        "wrong box": lambda n: rf"\boxed{{{n}}} would be wrong.",
        "unless": lambda n: rf"\boxed{{\text{{The total is {n} unless it rains}}}}",
        "remark denies": lambda n: rf"\boxed{{{n} \text{{ (this is wrong)}}}}",
        "remark times": lambda n: rf"\boxed{{{n} \text{{ (times 3)}}}}",
        "hundreds": lambda n: rf"\boxed{{\text{{The total is {n} hundred}}}}",
        "less": lambda n: rf"\boxed{{\text{{Tom has {n} fewer than Ann}}}}",
        "half": lambda n: rf"\boxed{{\text{{Half of the {n} apples}}}}",
        "sum": lambda n: rf"\boxed{{\text{{The total is }} {n} + 1}}",
        "if": lambda n: rf"\boxed{{\text{{{n} if }} x > 0}}",
        "two values": lambda n: rf"\boxed{{\text{{Tom has {n} and Ann has {n + 4}}}}}",
        "question": lambda n: rf"\boxed{{{n} \text{{?}}}}",
        "percent more": lambda n: rf"\boxed{{\text{{It grew by {n} percent}} + 4}}",
    }.items():
        n = draw_count(generator)
        yield Variant("open sentence", name, str(n), spell(n), False)


# --- matrices ------------------------------------------------------------------------------------


def draw_matrix(generator: random.Random) -> tuple[Fraction, list[list[int]]]:
    factor = Fraction(generator.choice((1, -1, 2, 3)), generator.choice((2, 3, 5, 7)))
    return factor, [[generator.randrange(-9, 10) or 4 for _ in range(2)] for _ in range(2)]


def other_matrices(
    generator: random.Random, p: tuple[Fraction, list[list[int]]]
) -> list[tuple[Fraction, list[list[int]]]]:
    factor, ((a, b), (c, d)) = p
    return [(-factor, [[a, b], [c, d]]), (factor, [[a, b], [c, d + 1]]), (factor + 1, [[a, b], [c, d]])]


def cells(rows: Sequence[Sequence[Any]], environment: str = "pmatrix") -> str:
    body = r" \\ ".join(" & ".join(str(cell) for cell in row) for row in rows)
    return rf"\begin{{{environment}}} {body} \end{{{environment}}}"


def scaled(p: tuple[Fraction, list[list[int]]], environment: str = "pmatrix") -> str:
    return cells([[frac(p[0] * cell) for cell in row] for row in p[1]], environment)


def negated(p: tuple[Fraction, list[list[int]]]) -> str:
    return "-" + cells([[frac(-p[0] * cell) for cell in row] for row in p[1]])


MATRICES = Kind(
    "matrix with factor",
    draw_matrix,
    other_matrices,
    {
        "scaled": scaled,
        "factor": lambda p: frac(p[0]) + cells(p[1]),
        "bmatrix": lambda p: scaled(p, "bmatrix"),
        "named": lambda p: "A^{-1} = " + scaled(p),
    },
    boxes(
        {
            "factor": lambda p: frac(p[0]) + cells(p[1]),
            "factor space": lambda p: frac(p[0]) + r" \, " + cells(p[1], "bmatrix"),
            "factor times": lambda p: frac(p[0]) + r" \cdot " + cells(p[1]),
            "negated": negated,
        "matrix in brackets": lambda p: frac(p[0]) + r"\left[" + cells(p[1], "matrix") + r"\right]",
        "chain from name": lambda p: "A^{-1} = " + frac(p[0]) + cells(p[1]) + " = " + scaled(p),
        "bare matrix": lambda p: frac(p[0]) + r" \left( " + cells(p[1], "matrix") + r" \right)",
        "tfrac": lambda p: frac(p[0]).replace("frac", "tfrac") + r"\," + cells(p[1]),
        "sign above": lambda p: rf"\frac{{{p[0].numerator}}}{{{p[0].denominator}}}" + cells(p[1]),
        "bracketed factor": lambda p: r"\left(" + frac(p[0]) + r"\right)" + cells(p[1], "bmatrix"),
        "M": lambda p: "M = " + frac(p[0]) + r"\begin{pmatrix}" + cells(p[1])[15:],
            "named factor": lambda p: "A^{-1} = " + frac(p[0]) + cells(p[1]),
            "scaled": scaled,
            "slash factor": lambda p: f"({p[0]})" + cells(p[1]),
            "left right": lambda p: frac(p[0]) + r"\left[" + cells(p[1], "array").replace(
                r"\begin{array}", r"\begin{array}{cc}") + r"\right]",
            "factor behind": lambda p: cells(p[1]) + r" \cdot " + frac(p[0]) if p[0] > 0
            else cells(p[1]) + r" \cdot \left(" + frac(p[0]) + r"\right)",
            "times": lambda p: frac(p[0]) + r" \times " + cells(p[1], "bmatrix"),
            "dfrac": lambda p: frac(p[0]).replace("frac", "dfrac") + cells(p[1]),
            "chain": lambda p: frac(p[0]) + cells(p[1]) + " = " + scaled(p),
        }
    ),
)  # fmt: skip


def other_vectors(generator: random.Random, p: tuple[Fraction, list[int]]) -> list[tuple[Fraction, list[int]]]:
    return [(-p[0], p[1]), (p[0], p[1][::-1]), (p[0], [*p[1][:-1], p[1][-1] + 1])]


def draw_vector(generator: random.Random) -> tuple[Fraction, list[int]]:
    return Fraction(generator.choice((-1, 1, 2)), generator.choice((3, 5, 7))), generator.sample(range(1, 30), 3)


def column(p: tuple[Fraction, list[int]]) -> str:
    return cells([[frac(p[0] * cell)] for cell in p[1]])


VECTORS = Kind(
    "vector with factor",
    draw_vector,
    other_vectors,
    {"column": column, "factor": lambda p: frac(p[0]) + cells([[cell] for cell in p[1]])},
    boxes(
        {
            "factor": lambda p: frac(p[0]) + cells([[cell] for cell in p[1]]),
            "named": lambda p: r"\mathbf{v} = " + frac(p[0]) + cells([[cell] for cell in p[1]]),
            "bmatrix": lambda p: frac(p[0]) + cells([[cell] for cell in p[1]], "bmatrix"),
            "column": column,
            "dot": lambda p: frac(p[0]) + r" \cdot " + cells([[cell] for cell in p[1]]),
        }
    ),
)


# --- sets of numbers -----------------------------------------------------------------------------

Interval = tuple[int, int, bool, bool]  # ends, and whether each belongs to it


def draw_interval(generator: random.Random) -> Interval:
    return (*two(generator), generator.random() < 0.5, generator.random() < 0.5)


def other_intervals(generator: random.Random, p: Interval) -> list[Interval]:
    a, b, left, right = p
    return [(a, b, not left, right), (a, b, left, not right), (a - 1, b, left, right), (a, b + 1, left, right)]


def le(closed: bool) -> str:
    return r"\le" if closed else "<"


def ge(closed: bool) -> str:
    return r"\ge" if closed else ">"


def interval(p: Interval) -> str:
    return f"{'[' if p[2] else '('}{p[0]}, {p[1]}{']' if p[3] else ')'}"


def chain(p: Interval, sign: Callable[[bool], str] = le) -> str:
    return f"{p[0]} {sign(p[2])} x {sign(p[3])} {p[1]}"


def conjunction(p: Interval) -> tuple[str, str]:
    return (rf"x \ge {p[0]}" if p[2] else f"x > {p[0]}", rf"x \le {p[1]}" if p[3] else f"x < {p[1]}")


INTERVALS = Kind(
    "set-builder",
    draw_interval,
    other_intervals,
    {
        "interval": interval,
        "chain": chain,
        "builder": lambda p: rf"\{{x \mid {chain(p)}\}}",
        "in": lambda p: rf"x \in {interval(p)}",
    },
    boxes(
        {
            "builder": lambda p: rf"\{{ x \mid {chain(p)} \}}",
            "satisfying": lambda p: rf"\text{{all real numbers }} x \text{{ satisfying }} {chain(p)}",
            "left right": lambda p: rf"\left{interval(p)[0]}{p[0]}, {p[1]}\right{interval(p)[-1]}",
            "interval label": lambda p: rf"\text{{Interval: }} {interval(p)}",
            "and in words": lambda p: f"{conjunction(p)[0]} and {conjunction(p)[1]}",
            "two conditions": lambda p: rf"\{{x : {conjunction(p)[0]}, {conjunction(p)[1]}\}}",
            "set of all": lambda p: rf"\text{{the set of all }} x \text{{ such that }} {chain(p)}",
            "y in": lambda p: rf"y \in {interval(p)}",
            "land": lambda p: rf"{conjunction(p)[0]} \land {conjunction(p)[1]}",
            "turned": lambda p: rf"{p[1]} {ge(p[3])} x {ge(p[2])} {p[0]}",
            "such that inside": lambda p: rf"\{{x \text{{ such that }} {chain(p)}\}}",
            "vert": lambda p: rf"\{{x \,\vert\, {chain(p)}\}}",
            "semicolon": lambda p: rf"\{{x\in\mathbb{{R}};\; {chain(p)}\}}",
            "builder colon": lambda p: rf"\{{x : {chain(p)}\}}",
            "builder in R": lambda p: rf"\{{x \in \mathbb{{R}} \mid {chain(p)}\}}",
            "builder left middle": lambda p: rf"\left\{{ x \,\middle|\, {chain(p)} \right\}}",
            "interval": interval,
            "chain": chain,
            "in": lambda p: rf"x \in {interval(p)}",
            "and": lambda p: r" \text{ and } ".join(conjunction(p)),
            "builder R after": lambda p: rf"\{{x : x \in \mathbb{{R}}, {chain(p)}\}}",
            "builder and": lambda p: rf"\{{x \mid {conjunction(p)[0]} \text{{ and }} {conjunction(p)[1]}\}}",
            "leqslant": lambda p: rf"\{{x \mid {chain(p)}\}}".replace(r"\le ", r"\leqslant "),
            "mathbf R": lambda p: rf"\{{x\in\mathbf{{R}}\,|\,{chain(p)}\}}",
            "bare mathbb": lambda p: rf"\{{ x\in\mathbb R : {chain(p)} \}}",
            "S equals": lambda p: rf"S = \{{x \mid {chain(p)}\}}",
            "chain, R": lambda p: rf"{chain(p)}, \; x \in \mathbb{{R}}",
            "t": lambda p: rf"\{{t \mid {chain(p).replace('x', 't')}\}}",
        }
    ),
)

RAYS = Kind(
    "set-builder of a ray",
    lambda generator: (generator.randrange(-30, 30), generator.random() < 0.5, generator.random() < 0.5),
    lambda generator, p: [(p[0] + 1, p[1], p[2]), (p[0], not p[1], p[2]), (p[0], p[1], not p[2])],
    {
        "interval": lambda p: ray(p),
        "inequality": lambda p: half_line(p),
    },
    boxes(
        {
            "builder": lambda p: rf"\{{x \mid {half_line(p)}\}}",
            "plus infinity": lambda p: ray(p).replace(r", \infty", r", +\infty"),
            "builder colon": lambda p: rf"\left\{{x \colon {half_line(p)}\right\}}",
            "builder R": lambda p: rf"\{{x \in \mathbb{{R}} : {half_line(p)}\}}",
            "inequality": lambda p: half_line(p),
            "interval": lambda p: ray(p),
            "all real": lambda p: rf"\text{{all real numbers }} x \text{{ such that }} {half_line(p)}",
            "all real with": lambda p: rf"\text{{all }} x \text{{ with }} {half_line(p)}",
        }
    ),
)


def half_line(p: tuple[int, bool, bool]) -> str:
    sign = {(True, True): r"\ge", (True, False): ">", (False, True): r"\le", (False, False): "<"}[p[1], p[2]]
    return f"x {sign} {p[0]}"


def ray(p: tuple[int, bool, bool]) -> str:
    if p[1]:
        return f"{'[' if p[2] else '('}{p[0]}, \\infty)"
    return rf"(-\infty, {p[0]}{']' if p[2] else ')'}"


EXCLUDED = Kind(
    "all but one number",
    lambda generator: generator.randrange(-30, 30),
    lambda generator, n: [n + 1, n - 3],
    {
        "union": lambda n: rf"(-\infty, {n}) \cup ({n}, \infty)",
        "unequal": lambda n: rf"x \neq {n}",
        "builder": lambda n: rf"\{{x \mid x \neq {n}\}}",
    },
    boxes(
        {
            "unequal": lambda n: rf"x \ne {n}",
            "except text": lambda n: rf"\text{{all real numbers except {n}}}",
            "or": lambda n: rf"x < {n} \text{{ or }} x > {n}",
            "x in setminus": lambda n: rf"x \in \mathbb{{R}} \setminus \{{{n}\}}",
            "all real x": lambda n: rf"\text{{all real }} x \neq {n}",
            "R with condition": lambda n: rf"x \in \mathbb{{R}}, x \neq {n}",
            "builder R": lambda n: rf"\{{x \in \mathbb{{R}} \mid x \neq {n}\}}",
            "setminus": lambda n: rf"\mathbb{{R}} \setminus \{{{n}\}}",
            "backslash": lambda n: rf"\mathbb{{R}} \backslash \{{{n}\}}",
            "all but": lambda n: rf"\text{{all real numbers except }} {n}",
            "minus": lambda n: rf"\mathbb{{R}} - \{{{n}\}}",
            "union": lambda n: rf"(-\infty, {n}) \cup ({n}, +\infty)",
        }
    ),
)

OUTSIDE = Kind(
    "set-builder of a union",
    two,
    lambda generator, p: [(p[0] - 1, p[1]), (p[0], p[1] + 2)],
    {
        "union": lambda p: rf"(-\infty, {p[0]}) \cup ({p[1]}, \infty)",
        "or": lambda p: rf"x < {p[0]} \text{{ or }} x > {p[1]}",
    },
    boxes(
        {
            "builder or": lambda p: rf"\{{x \mid x < {p[0]} \text{{ or }} x > {p[1]}\}}",
            "union of builders": lambda p: rf"\{{x \mid x < {p[0]}\}} \cup \{{x \mid x > {p[1]}\}}",
            "comma or": lambda p: rf"x < {p[0]}, \text{{ or }} x > {p[1]}",
            "builder R or": lambda p: rf"\{{x \in \mathbb{{R}} : x < {p[0]} \text{{ or }} x > {p[1]}\}}",
            "or": lambda p: rf"x < {p[0]} \text{{ or }} x > {p[1]}",
            "lor": lambda p: rf"x > {p[1]} \lor x < {p[0]}",
            "in union": lambda p: rf"x \in (-\infty, {p[0]}) \cup ({p[1]}, \infty)",
            "quad or": lambda p: rf"x < {p[0]} \quad \text{{or}} \quad x > {p[1]}",
        }
    ),
)


# --- ratios --------------------------------------------------------------------------------------


def draw_ratio(generator: random.Random) -> tuple[int, int]:
    while True:
        a, b = generator.sample(range(2, 10), 2)
        if Fraction(a, b).denominator == b and Fraction(a, b).numerator == a:
            return a, b


RATIOS = Kind(
    "ratio",
    draw_ratio,
    lambda generator, p: [(p[1], p[0]), (p[0] + p[1], p[1]), (p[0], p[1] + p[0])],
    {
        "colon": lambda p: f"{p[0]}:{p[1]}",
        "fraction": lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}",
        "spaced": lambda p: f"{p[0]} : {p[1]}",
        "to": lambda p: rf"{p[0]} \text{{ to }} {p[1]}",
        "slash": lambda p: f"{p[0]}/{p[1]}",
    },
    boxes(
        {
            "colon": lambda p: f"{p[0]}:{p[1]}",
            "spaced": lambda p: f"{p[0]} : {p[1]}",
            "colon command": lambda p: rf"{p[0]} \colon {p[1]}",
            "to": lambda p: rf"{p[0]} \text{{ to }} {p[1]}",
            "plain to": lambda p: f"{p[0]} to {p[1]}",
            "ratio is": lambda p: rf"\text{{The ratio is }} {p[0]}:{p[1]}",
            "spaced text colon": lambda p: rf"{p[0]} \text{{ : }} {p[1]}",
            "x to y": lambda p: rf"x:y = {p[0]}:{p[1]}",
            "tfrac": lambda p: rf"\tfrac{{{p[0]}}}{{{p[1]}}}",
            "is to": lambda p: rf"{p[0]} \text{{ is to }} {p[1]}",
            "of whom": lambda p: rf"{p[0]}:{p[1]} \text{{ (boys to girls)}}",
            "named in text": lambda p: rf"\text{{boys : girls}} = {p[0]}:{p[1]}",
            "named": lambda p: f"a:b = {p[0]}:{p[1]}",
            "text colon": lambda p: rf"{p[0]}\text{{:}}{p[1]}",
            "mathbin": lambda p: rf"{p[0]} \mathbin{{:}} {p[1]}",
            "words named": lambda p: rf"\text{{ratio }} = {p[0]}:{p[1]}",
            "doubled": lambda p: f"{2 * p[0]}:{2 * p[1]}",
            "fraction": lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}",
            "braces": lambda p: rf"{p[0]}{{:}}{p[1]}",
            "text whole": lambda p: rf"\text{{{p[0]} to {p[1]}}}",
            "in the ratio": lambda p: rf"\text{{in the ratio }} {p[0]}:{p[1]}",
            "names fraction": lambda p: rf"\frac{{a}}{{b}} = \frac{{{p[0]}}}{{{p[1]}}}",
        }
    ),
)

TIMES = Kind(
    "time of day",
    lambda generator: (generator.randrange(1, 6), generator.randrange(10, 30)),
    lambda generator, p: [(2 * p[0], 2 * p[1]), (p[0], p[1] + 1)],
    {"colon": lambda p: f"{p[0]}:{p[1]}", "text": lambda p: rf"{p[0]}:{p[1]} \text{{ p.m.}}"},
    boxes({"colon": lambda p: f"{p[0]}:{p[1]}"}),
)

LONG_RATIOS = Kind(
    "ratio of three",
    lambda generator: tuple(generator.sample((2, 3, 5, 7), 3)),
    lambda generator, p: [p[::-1], (p[0], p[1], p[2] + 1)],
    {"colon": lambda p: ":".join(map(str, p)), "spaced": lambda p: " : ".join(map(str, p))},
    boxes(
        {
            "colon": lambda p: ":".join(map(str, p)),
            "spaced": lambda p: " : ".join(map(str, p)),
            "named": lambda p: "a:b:c = " + ":".join(map(str, p)),
            "colon command": lambda p: r" \colon ".join(map(str, p)),
            "to": lambda p: r" \text{ to } ".join(map(str, p)),
            "doubled": lambda p: ":".join(str(3 * n) for n in p),
        }
    ),
)


# --- constants in upright letters ----------------------------------------------------------------


def upright(text: str) -> str:
    return text.replace("e", r"\mathrm{e}")


EXPONENTIALS = Kind(
    "upright e",
    lambda generator: (generator.randrange(2, 9), generator.randrange(1, 7)),
    lambda generator, p: [(p[0], -p[1]), (p[0], p[1] + 1), (p[0] + 1, p[1])],
    {
        "power": lambda p: f"{p[0]}e^{{{-p[1]}}}",
        "fraction": lambda p: rf"\frac{{{p[0]}}}{{e^{{{p[1]}}}}}",
        "upright fraction": lambda p: rf"\frac{{{p[0]}}}{{\mathrm{{e}}^{{{p[1]}}}}}",
        "upright power": lambda p: rf"{p[0]}\mathrm{{e}}^{{{-p[1]}}}",
    },
    boxes(
        {
            "power": lambda p: f"{p[0]}e^{{{-p[1]}}}",
            "upright power": lambda p: rf"{p[0]}\mathrm{{e}}^{{{-p[1]}}}",
            "fraction": lambda p: rf"\frac{{{p[0]}}}{{\mathrm{{e}}^{{{p[1]}}}}}",
            "text e": lambda p: rf"\frac{{{p[0]}}}{{\text{{e}}^{{{p[1]}}}}}",
            "exp": lambda p: rf"{p[0]}\exp({-p[1]})",
            "dfrac rm": lambda p: rf"\dfrac{{{p[0]}}}{{{{\rm e}}^{p[1]}}}",
            "thin space": lambda p: rf"{p[0]}\,e^{{{-p[1]}}}",
            "behind": lambda p: rf"\mathrm{{e}}^{{{-p[1]}}} \cdot {p[0]}",
            "over": lambda p: rf"{p[0]} \cdot \frac{{1}}{{e^{{{p[1]}}}}}",
            "rm": lambda p: rf"{p[0]}{{\rm e}}^{{{-p[1]}}}",
            "exp braces": lambda p: rf"{p[0]}\exp\{{{-p[1]}\}}",
            "operatorname": lambda p: rf"{p[0]}\operatorname{{exp}}\left({-p[1]}\right)",
            "cdot": lambda p: rf"{p[0]} \cdot \mathrm{{e}}^{{{-p[1]}}}",
            "slash": lambda p: f"{p[0]}/e^{{{p[1]}}}",
            "mathbf": lambda p: rf"{p[0]}\mathbf{{e}}^{{{-p[1]}}}",
            "mathrm exp": lambda p: rf"{p[0]}\,\mathrm{{exp}}({-p[1]})",
        }
    ),
)

COMPLEX = Kind(
    "upright i",
    lambda generator: (generator.randrange(1, 20), generator.randrange(2, 20)),
    lambda generator, p: [(p[0], -p[1]), (p[1] + 20, p[0])],
    {
        "plain": lambda p: f"{p[0]} {p[1]:+d}i",
        "upright": lambda p: rf"{p[0]} {p[1]:+d}\mathrm{{i}}",
        "product": lambda p: rf"{p[0]} {p[1]:+d} \cdot i",
    },
    boxes(
        {
            "plain": lambda p: f"{p[0]} {p[1]:+d}i",
            "upright": lambda p: rf"{p[0]} {p[1]:+d}\mathrm{{i}}",
            "text": lambda p: rf"{p[0]} {p[1]:+d}\text{{i}}",
            "z": lambda p: rf"z = {p[0]} {p[1]:+d}\,\mathrm{{i}}",
            "turned": lambda p: f"{p[1]}i + {p[0]}",
            "operatorname": lambda p: rf"{p[0]} {p[1]:+d}\operatorname{{i}}",
            "i first": lambda p: f"{p[0]} + i({p[1]})",
            "mathit": lambda p: rf"{p[0]} {p[1]:+d}\mathit{{i}}",
        }
    ),
)

LOGARITHMS = Kind(
    "upright functions",
    lambda generator: (generator.randrange(2, 9), generator.randrange(11, 30)),
    lambda generator, p: [(p[0] + 1, p[1]), (p[0], p[1] + 1)],
    {"ln": lambda p: rf"{p[0]}\ln {p[1]}", "ln bracket": lambda p: rf"{p[0]}\ln({p[1]})"},
    boxes(
        {
            "mathrm": lambda p: rf"{p[0]}\,\mathrm{{ln}}\,{p[1]}",
            "text": lambda p: rf"{p[0]}\text{{ln}}({p[1]})",
            "operatorname": lambda p: rf"{p[0]}\operatorname{{ln}} {p[1]}",
            "plain": lambda p: f"{p[0]}ln({p[1]})",
            "log e": lambda p: rf"{p[0]}\log_e {p[1]}",
            "cdot": lambda p: rf"{p[0]} \cdot \mathrm{{ln}}({p[1]})",
            "power inside": lambda p: rf"\ln\left({p[1]}^{{{p[0]}}}\right)",
            "mathop": lambda p: rf"{p[0]}\mathop{{\mathrm{{ln}}}} {p[1]}",
        }
    ),
)


# --- references as people write them -------------------------------------------------------------


def draw_decimal(generator: random.Random) -> str:
    return f"{generator.randrange(2, 90)}.{generator.randrange(11, 98)}"


def other_decimals(generator: random.Random, text: str) -> list[str]:
    whole, _, part = text.partition(".")
    return [f"{int(whole) + 1}.{part}", f"{whole}.{int(part) + 1}", f"{whole}{part}"]


APPROXIMATELY = Kind(
    "approximately",
    draw_decimal,
    other_decimals,
    {
        "approx": lambda t: rf"\approx {t}",
        "word": lambda t: f"approximately {t}",
        "unicode": lambda t: f"\u2248 {t}",
        "around": lambda t: f"around {t}",
        "text": lambda t: rf"\text{{approximately }} {t}",
        "about": lambda t: f"about {t}",
        "x approx": lambda t: rf"x \approx {t}",
        "sim": lambda t: f"~{t}",
        "number": lambda t: t,
    },
    {
        **boxes(
            {
                "number": lambda t: t,
                "approx": lambda t: rf"\approx {t}",
                "text": lambda t: rf"\text{{approximately }} {t}",
                "x approx": lambda t: rf"x \approx {t}",
                "about text": lambda t: rf"\text{{about }}{t}",
                "places": lambda t: rf"{t} \text{{ (2 d.p.)}}",
                "value": lambda t: rf"\text{{value}} \approx {t}",
                "approxeq": lambda t: rf"\approxeq {t}",
                "two places": lambda t: rf"{t} \text{{ (to two decimal places)}}",
                "text whole": lambda t: rf"\text{{approximately {t}}}",
                "sim": lambda t: rf"\sim {t}",
                "approx after": lambda t: rf"{t} \text{{ (approximately)}}",
                "roughly": lambda t: rf"\text{{roughly }} {t}",
                "approx text": lambda t: rf"{t} \text{{ approx.}}",
                "simeq": lambda t: rf"\simeq {t}",
            }
        ),
        "unicode": lambda t: f"The answer is \u2248 {t}.",
        "stated": lambda t: f"The answer is approximately {t}.",
    },
)

ROOTS_ROUNDED = Kind(
    "approximately a root",
    lambda generator: generator.choice([n for n in range(2, 400) if round(n**0.5) ** 2 != n]),
    lambda generator, n: [n + 30, n + 57],
    {
        "approx": lambda n: rf"\approx {n**0.5:.3f}",
        "word": lambda n: f"approximately {n**0.5:.3f}",
        "exact and approx": lambda n: rf"\sqrt{{{n}}} \approx {n**0.5:.2f}",
    },
    boxes(
        {
            "root": lambda n: rf"\sqrt{{{n}}}",
            "both": lambda n: rf"\sqrt{{{n}}} \approx {n**0.5:.3f}",
            "equation": lambda n: rf"x = \sqrt{{{n}}}",
            "more digits": lambda n: f"{n**0.5:.7f}",
        }
    ),
)

SHORT_UNITS = ("cm", "km/h", "m^2", "kg")
LONG_UNITS = ("centimeters", "kilometers per hour", "square meters", "kilograms")
FRACTION_UNITS = (
    r"\text{ cm}", r"\frac{\text{km}}{\text{h}}", r"\text{ m}^2", r"\text{ kg}",
)  # fmt: skip
POWER_UNITS = (
    r"\text{ centimetres}", r"\text{ kilometres per hour}", r"\text{ metres}^{2}", r"\text{ kilograms}",
)  # fmt: skip

UNITS = Kind(
    "units",
    lambda generator: (generator.randrange(2, 900), generator.randrange(4)),
    lambda generator, p: [(p[0] + 1, p[1]), (p[0] * 10, p[1])],
    {
        "text": lambda p: rf"{p[0]} \text{{ {LONG_UNITS[p[1]]}}}",
        "plain": lambda p: f"{p[0]} {SHORT_UNITS[p[1]]}",
        "mathrm": lambda p: rf"{p[0]}\,\mathrm{{{SHORT_UNITS[p[1]]}}}",
        "words": lambda p: f"{p[0]} {LONG_UNITS[p[1]]}",
        "about": lambda p: f"about {p[0]} {SHORT_UNITS[p[1]]}",
        "tight text": lambda p: rf"{p[0]}\text{{{SHORT_UNITS[p[1]]}}}",
        "bracketed": lambda p: f"{p[0]} ({SHORT_UNITS[p[1]]})",
        "named": lambda p: rf"d = {p[0]} \text{{ {SHORT_UNITS[p[1]]}}}",
    },
    {
        **boxes(
            {
                "number": lambda p: str(p[0]),
                "text": lambda p: rf"{p[0]} \text{{ {LONG_UNITS[p[1]]}}}",
                "wide": lambda p: rf"{p[0]}\;\mathrm{{{SHORT_UNITS[p[1]]}}}",
                "named": lambda p: rf"\text{{Distance}} = {p[0]} \text{{ {LONG_UNITS[p[1]]}}}",
                "mathrm": lambda p: rf"{p[0]}\ \mathrm{{{SHORT_UNITS[p[1]]}}}",
                "frac": lambda p: f"{p[0]} {FRACTION_UNITS[p[1]]}",
                "text power": lambda p: f"{p[0]} {POWER_UNITS[p[1]]}",
                "operatorname": lambda p: rf"{p[0]}\,\operatorname{{{SHORT_UNITS[p[1]]}}}",
            }
        ),
        "stated": lambda p: f"The answer is {p[0]} {LONG_UNITS[p[1]]}.",
    },
)


def draw_polynomial(generator: random.Random) -> tuple[int, int, int]:
    return generator.randrange(2, 9), generator.randrange(2, 9), generator.randrange(1, 9)


POLYNOMIALS = Kind(
    "code notation of a polynomial",
    draw_polynomial,
    lambda generator, p: [(p[0] + 1, p[1], p[2]), (p[0], -p[1], p[2]), (p[0], p[1], p[2] + 1)],
    {
        "code": lambda p: f"{p[0]}*x**2 {p[1]:+d}*x {p[2]:+d}",
        "caret": lambda p: f"{p[0]}*x^2 {p[1]:+d}*x {p[2]:+d}",
        "spaced": lambda p: f"{p[0]} * x ** 2 {p[1]:+d} * x {p[2]:+d}",
        "tight": lambda p: f"{p[0]}*x**2{p[1]:+d}*x{p[2]:+d}",
        "products": lambda p: f"{p[0]}*x*x {p[1]:+d}*x {p[2]:+d}",
        "function": lambda p: f"f(x) = {p[0]}*x**2 {p[1]:+d}*x {p[2]:+d}",
        "backticks": lambda p: f"`{p[0]}*x**2 {p[1]:+d}*x {p[2]:+d}`",
        "latex": lambda p: f"{p[0]}x^2 {p[1]:+d}x {p[2]:+d}",
    },
    boxes(
        {
            "latex": lambda p: f"{p[0]}x^2 {p[1]:+d}x {p[2]:+d}",
            "turned": lambda p: f"{p[2]} {p[1]:+d}x + {p[0]}x^{{2}}",
            "cdots": lambda p: rf"{p[0]} \cdot x^2 {p[1]:+d} \cdot x {p[2]:+d}",
            "code": lambda p: f"{p[0]}*x**2 {p[1]:+d}*x {p[2]:+d}",
            "power braces": lambda p: f"{p[0]}x**{{2}} {p[1]:+d}x {p[2]:+d}",
            "texttt": lambda p: rf"\texttt{{{p[0]}*x**2 {p[1]:+d}*x {p[2]:+d}}}",
        }
    ),
)

CODE_VALUES = Kind(
    "code notation of a value",
    lambda generator: (generator.choice((2, 3, 5, 6, 7, 10, 11)), generator.choice((2, 3, 5, 7))),
    lambda generator, p: [(p[0] + 10, p[1]), (p[0], p[1] + 1)],
    {
        "sqrt": lambda p: f"sqrt({p[0]})/{p[1]}",
        "math": lambda p: f"math.sqrt({p[0]}) / {p[1]}",
        "np": lambda p: f"np.sqrt({p[0]})/{p[1]}",
        "spaced": lambda p: f"sqrt( {p[0]} ) / {p[1]}",
        "numpy": lambda p: f"numpy.sqrt({p[0]}) / {p[1]}",
        "negative power": lambda p: f"sqrt({p[0]}) * {p[1]}**-1",
        "half power": lambda p: f"{p[0]}**0.5/{p[1]}",
        "half fraction": lambda p: f"{p[0]}**(1/2)/{p[1]}",
        "latex": lambda p: rf"\frac{{\sqrt{{{p[0]}}}}}{{{p[1]}}}",
    },
    boxes(
        {
            "latex": lambda p: rf"\frac{{\sqrt{{{p[0]}}}}}{{{p[1]}}}",
            "sqrt": lambda p: f"sqrt({p[0]})/{p[1]}",
            "factor": lambda p: rf"\frac{{1}}{{{p[1]}}}\sqrt{{{p[0]}}}",
            "power": lambda p: rf"\frac{{{p[0]}^{{1/2}}}}{{{p[1]}}}",
            "unicode": lambda p: f"\u221a{p[0]}/{p[1]}",
        }
    ),
)

CODE_PI = Kind(
    "code notation of pi",
    lambda generator: (generator.choice((1, 2, 3, 5)), generator.choice((4, 7, 9))),
    lambda generator, p: [(p[0] + 1, p[1]), (p[0], p[1] + 1)],
    {
        "star": lambda p: f"{p[0]}*pi/{p[1]}",
        "np": lambda p: f"{p[0]}*np.pi/{p[1]}",
        "front": lambda p: f"(pi*{p[0]})/{p[1]}",
        "math": lambda p: f"{p[0]} * math.pi / {p[1]}",
    },
    boxes(
        {
            "latex": lambda p: rf"\frac{{{p[0]}\pi}}{{{p[1]}}}",
            "factor": lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}\pi",
            "star": lambda p: f"{p[0]}*pi/{p[1]}",
        }
    ),
)

CODE_LISTS = Kind(
    "code notation of a list",
    lambda generator: tuple(generator.sample(range(1, 60), 3)),
    lambda generator, p: [(p[0], p[1], p[2] + 1), (p[0], p[1])],
    {
        "list": lambda p: str(list(p)),
        "commas": lambda p: ", ".join(map(str, p)),
    },
    boxes(
        {
            "list": lambda p: str(list(p)),
            "tight": lambda p: "[" + ",".join(map(str, p)) + "]",
            "semicolons": lambda p: "; ".join(map(str, p)),
            "commas": lambda p: ", ".join(map(str, p)),
            "and": lambda p: ", ".join(map(str, p[:-1])) + rf", \text{{ and }} {p[-1]}",
        }
    ),
)


# --- expressions nobody has worked out -----------------------------------------------------------


def unevaluated(generator: random.Random) -> Iterator[Variant]:
    """Sums, differences and products of plain numbers: no answer where the reference is their value."""
    a, b, c = generator.sample(range(2, 60), 3)
    cases = {
        "bracketed fraction": (f"({a} + {b}) / {c}", Fraction(a + b, c)),
        "less product": (rf"{a} - {b} \cdot {c}", a - b * c),
        "three factors": (rf"{a} \times {b} \times {c}", a * b * c),
        "brackets side by side": (f"({a})({b})", a * b),
        "money": (rf"\${a} + \${b}", a + b),
        "parts": (f"({a} + {b}) - {c}", a + b - c),
        "left right": (rf"\left({a} + {b}\right) \cdot {c}", (a + b) * c),
        "dollars": (rf"{a} \cdot {b} \text{{ dollars}}", a * b),
        "sum": (f"{a} + {b}", a + b),
        "difference": (f"{a} - {b}", a - b),
        "times": (rf"{a} \times {b}", a * b),
        "cdot": (rf"{a} \cdot {b}", a * b),
        "star": (f"{a}*{b}", a * b),
        "three": (f"{a} + {b} + {c}", a + b + c),
        "brackets": (f"{a}({b} + {c})", a * (b + c)),
        "product and sum": (rf"{a} \cdot {b} + {c}", a * b + c),
        "fractions": (rf"\frac{{{a}}}{{{b}}} + \frac{{{c}}}{{{b}}}", Fraction(a + c, b)),
        "inside fraction": (rf"\frac{{{a} + {b}}}{{{c}}}", Fraction(a + b, c)),
        "percent of": (rf"0.25 \times {4 * a}", a),
        "named": (f"x = {a} + {b}", a + b),
        "decimals": (f"{a}.5 + {b}.5", a + b + 1),
        "negative": (f"-{a} + {b}", b - a),
        "under root": (rf"\sqrt{{{a * a - b} + {b}}}", a),
        "in text": (rf"{a} + {b} \text{{ apples}}", a + b),
    }
    for name, (text, total) in cases.items():
        yield Variant("unevaluated", f"box > {name}", str(total), boxed(text), False)
        yield Variant("unevaluated", f"stated > {name}", str(total), f"The answer is: {text}", False)
        finished = f"{text} = {frac(Fraction(total))}" if "text" not in text else f"{text} = {total}"
        if "apples" not in text:
            yield Variant("evaluated", f"chain > {name}", str(total), boxed(finished), True)


def evaluated(generator: random.Random) -> Iterator[Variant]:
    """What is an answer as it stands, though it could be computed further."""
    a, b = generator.sample(range(2, 9), 2)
    n = generator.randrange(2, 9)
    for name, answer, text in (
        ("negative power", "0.125", "2^{-3}"),
        ("root of a fraction", f"{a / 4:g}", rf"\sqrt{{\frac{{{a * a}}}{{16}}}}"),
        ("e notation", f"{a * 10**n}", f"{a}e{n}"),
        ("fraction", f"{a / 8:g}", rf"\frac{{{a}}}{{8}}"),
        ("slash", f"{a / 8:g}", f"{a}/8"),
        ("unreduced", str(a), rf"\frac{{{a * b}}}{{{b}}}"),
        ("power", str(a**n), f"{a}^{{{n}}}"),
        ("scientific", str(a * 10**n), rf"{a} \times 10^{{{n}}}"),
        ("root", str(a), rf"\sqrt{{{a * a}}}"),
        ("factorial", "120", "5!"),
        ("binomial", "120", r"\binom{10}{3}"),
        ("mixed", f"{a + 0.5:g}", rf"{a}\frac{{1}}{{2}}"),
        ("percent", f"{a / 10:g}", rf"{a * 10}\%"),
        ("negative", f"-{a}", f"-{a}"),
        ("thousands", str(a * 10**6), f"{a},000,000"),
        ("scientific dot", str(a * 10**n), rf"{a} \cdot 10^{n}"),
        ("sum reference", f"{a} + {b}", f"{a} + {b}"),
        ("product of powers", str(2**n * 3), rf"2^{{{n}}} \cdot 3"),
        ("money", str(a * 1000), rf"\${a},000"),
    ):
        yield Variant("evaluated", name, answer, boxed(text), True)


KINDS = (
    SEVERAL_BOXES, LAST_BOX, OPTIONS, SEVERAL_LETTERS, SENTENCES, REMARKS, MATRICES, VECTORS, INTERVALS, RAYS, EXCLUDED,
    OUTSIDE, RATIOS, TIMES, LONG_RATIOS, EXPONENTIALS, COMPLEX, LOGARITHMS, APPROXIMATELY, ROOTS_ROUNDED, UNITS,
    POLYNOMIALS, CODE_VALUES, CODE_PI, CODE_LISTS,
)  # fmt: skip


def all_variants(seed: int, a_spelling: int = 2) -> list[Variant]:
    """Every labelled pair of one seed."""
    generator = random.Random(f"{seed} single")
    singles = [
        pair for _ in range(a_spelling) for make in (open_sentences, unevaluated, evaluated) for pair in make(generator)
    ]
    return [*variants(seed, a_spelling), *singles]
