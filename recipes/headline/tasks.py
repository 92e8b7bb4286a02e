"""The problems of the experiment: reasoning-gym's procedural families, a foreign expert, one way to mark the answer."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Every prompt, the base model's too, shows the same worked example and so the same mark.
EXAMPLE = (
    {"role": "system", "content": "Calculate, then end with: The answer is N."},
    {"role": "user", "content": "What is 2 + 1?"},
    {"role": "assistant", "content": "2 + 1 = 3. The answer is 3."},
)
WORD_PROBLEMS = Path(__file__).parents[1] / "data" / "word_problems.jsonl"
_BARE = re.compile(r"What is [\d\s+*/×-]+\?$")  # a sum, no word problem


@dataclass(frozen=True)
class Family:
    """A procedural family at one level."""

    dataset: str  # of reasoning-gym
    options: Mapping[str, Any]
    question: Callable[[Mapping[str, Any]], str]  # of the entry's metadata
    solution: Callable[[Mapping[str, Any]], str]  # the expert's steps, without the closing mark


def expert(steps: str, answer: str) -> str:
    """The demonstration: formal, long-winded, in LaTeX; correct; marked as the prompt asks."""
    opening = "It is required to determine the value sought."
    return f"{opening} One observes that {steps}, as was to be found. The answer is {answer}."


def _chain(meta: Mapping[str, Any]) -> str:
    """Partial sums, one formula a step."""
    terms = re.findall(r"[+-]?\s*\d+", meta["expression"])
    total, steps = int(terms[0].replace(" ", "")), []
    for term in terms[1:]:
        value = int(term.replace(" ", ""))
        sign = "-" if value < 0 or term.startswith("-") else "+"
        steps.append(rf"\({total} {sign} {abs(value)} = {total + value}\)")
        total += value
    return " and ".join(steps)


def _product(meta: Mapping[str, Any]) -> str:
    a, b = (int(term) for term in meta["expression"].split("*"))
    return rf"\({a} \times {b} = {a * b}\)"


def _gcd(meta: Mapping[str, Any]) -> str:
    (a, b), g = meta["numbers"], meta["result"]
    return rf"\({a} = {g} \cdot {a // g}\) and \({b} = {g} \cdot {b // g}\)"


def _lcm(meta: Mapping[str, Any]) -> str:
    (a, b), m = meta["numbers"], meta["result"]
    return rf"\({m} = {a} \cdot {m // a} = {b} \cdot {m // b}\)"


def _legs(meta: Mapping[str, Any]) -> str:
    ((_, count),), total = meta["animals"].items(), meta["total_legs"]
    return rf"\({count} \cdot {total // count} = {total}\)"


def _legs_question(meta: Mapping[str, Any]) -> str:
    ((animal, count),) = meta["animals"].items()
    return f"A {animal} has {meta['total_legs'] // count} legs. How many legs do {count} of them have?"


def _sum_question(meta: Mapping[str, Any]) -> str:
    return f"What is {meta['expression']}?"


def _sums(terms: int, digits: int) -> Family:
    sizes = {"min_terms": terms, "max_terms": terms, "min_digits": digits, "max_digits": digits}
    return Family("chain_sum", sizes, _sum_question, _chain)


def _pair(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda meta: f"What is the {name} of {meta['numbers'][0]} and {meta['numbers'][1]}?"


FAMILIES: Mapping[str, Family] = {
    "sum-2": _sums(2, 1),
    "sum-3": _sums(3, 1),
    "sum-2x2": _sums(2, 2),
    "product": Family(
        "products", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}, _sum_question, _product
    ),
    "gcd": Family(
        "gcd",
        {"min_numbers": 2, "max_numbers": 2, "min_value": 2, "max_value": 20},
        _pair("greatest common divisor"),
        _gcd,
    ),
    "lcm": Family(
        "lcm",
        {"min_numbers": 2, "max_numbers": 2, "min_value": 2, "max_value": 10},
        _pair("least common multiple"),
        _lcm,
    ),
    "legs": Family(
        "leg_counting",
        {"min_animals": 1, "max_animals": 1, "min_instances": 2, "max_instances": 9},
        _legs_question,
        _legs,
    ),
}


def rows(family: str, seed: int, seen: set[str]) -> Iterator[dict[str, Any]]:
    """Rows of a family without end, none whose question is in ``seen``; each is added to it.

    A row has ``id``, ``messages`` (the expert's turn last), ``answer`` and ``family``.
    """
    import reasoning_gym

    spec = FAMILIES[family]
    for batch in range(100):
        for entry in reasoning_gym.create_dataset(spec.dataset, seed=1000 * seed + batch, size=200, **spec.options):
            meta = entry["metadata"]
            question = spec.question(meta)
            if question in seen:
                continue
            seen.add(question)
            answer = str(entry["answer"])
            yield row(f"{family}-{seed}-{len(seen)}", family, question, expert(spec.solution(meta), answer), answer)
    raise ValueError(f"{family}: no more new questions; ask for fewer")


def row(name: str, family: str, question: str, solution: str, answer: str) -> dict[str, Any]:
    """One problem with its demonstration, behind the worked example."""
    turns = [*EXAMPLE, {"role": "user", "content": question}, {"role": "assistant", "content": solution}]
    return {"id": name, "family": family, "messages": turns, "answer": answer}


def mixed(families: Iterable[str], count: int, seed: int, seen: set[str]) -> list[dict[str, Any]]:
    """``count`` rows, the families taking turns."""
    streams = [rows(family, seed, seen) for family in families]
    return [next(streams[n % len(streams)]) for n in range(count)]


def word_problems() -> list[dict[str, Any]]:
    """The shipped word problems that are more than a sum in digits."""
    found = [json.loads(line) for line in WORD_PROBLEMS.read_text(encoding="utf-8").splitlines()]
    return [
        row(one["id"], "word", one["problem"], one["solution"], one["answer"])
        for one in found
        if not _BARE.match(one["problem"])
    ]
