"""Throughput of the mathematics verifier against math-verify called in one loop, same pairs, one run.

Usage: python benchmarks/verify_throughput.py [GSM8K-like JSONL with "answer"] [--pairs 4000]
Without a file, answers of the same make are generated. Prints answers a second, ratios and agreement.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from mindgap_data.verify import Verdict
from mindgap_data.verify.math import MathVerifier
from mindgap_data.verify.pool import VerifierPool

Pair = tuple[str, str]  # response, reference answer

HARD = (
    (r"\frac{\sqrt{3}}{2}", r"\frac{3}{2\sqrt{3}}"),
    (r"(x+1)(x^2-x+1)", r"x^3+1"),
    (r"\left(-\infty, -\frac{1}{2}\right) \cup (3, \infty)", r"(3,\infty)\cup(-\infty,-0.5)"),
    (r"\begin{pmatrix} \frac{1}{2} & 0 \\ 3 & \sqrt{2} \end{pmatrix}",
     r"\begin{bmatrix} 0.5 & 0 \\ 3 & \sqrt2 \end{bmatrix}"),
    (r"1 \pm \sqrt{5}", r"1+\sqrt{5}, 1-\sqrt{5}"),
    (r"\frac{n(n+1)(2n+1)}{6}", r"\frac{2n^3+3n^2+n}{6}"),
    (r"\sin^2 x - \cos^2 x", r"-\cos 2x"),
    (r"y = \frac{2x - 3}{4}", r"y = \frac{x}{2} - \frac{3}{4}"),
    (r"\log_2 12", r"2 + \log_2 3"),
    (r"\frac{a^2 - b^2}{a - b}", r"a + b"),
    (r"(2\sqrt{2} + 3)^3", r"99 + 70\sqrt{2}"),
    (r"\{-\frac{3}{2}, \sqrt{7}, 4\}", r"\{4, -1.5, \sqrt{7}\}"),
    (r"e^{2x} + 2e^x + 1", r"(e^x + 1)^2"),
    (r"\frac{7!}{4!}", r"210"),
    (r"3 - 4i", r"\frac{25}{3 + 4i}"),
)  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", nargs="?", type=Path)
    arguments.add_argument("--pairs", type=int, default=4000)
    options = arguments.parse_args()
    worded = worded_pairs(options.file, options.pairs)
    hard = [(rf"So \boxed{{{right}}}.", left) for left, right in HARD]
    hard += [(rf"So \boxed{{{right}+1}}.", left) for left, right in HARD]
    hard = hard * max(1, options.pairs // (8 * len(hard)))
    print(f"{len(os.sched_getaffinity(0))} CPUs")
    compare("GSM8K-like answers", worded)
    compare("hard LaTeX", hard)


def compare(title: str, pairs: list[Pair]) -> None:
    """Time the three ways and print them beside each other."""
    math_verify_loop(pairs[:20])  # imports and the parser's tables are not timed, for neither
    in_one_process(pairs[:20])
    theirs, their_seconds = timed(math_verify_loop, pairs)
    ours, our_seconds = timed(in_one_process, pairs)
    with VerifierPool("math") as pool:
        for future in [pool.submit(r"\boxed{\sqrt{8}}", r"2\sqrt{2}", {}) for _ in range(20)]:
            future.result()
        pooled, pool_seconds = timed(lambda batch: in_pool(pool, batch), pairs)
    assert pooled == ours
    agreeing = sum(a == b for a, b in zip(theirs, ours, strict=True))
    print(f"\n{title}: {len(pairs)} pairs, {sum(ours)} correct; verdicts equal in {agreeing} of {len(pairs)}")
    for name, seconds in (
        ("math-verify, one loop", their_seconds),
        ("math verifier, one loop", our_seconds),
        ("verifier pool", pool_seconds),
    ):
        print(f"  {name:<24}{len(pairs) / seconds:>12,.0f} a second  {their_seconds / seconds:>7.1f} x")


def timed(run: Callable[[list[Pair]], list[bool]], pairs: list[Pair]) -> tuple[list[bool], float]:
    start = time.perf_counter()
    result = run(pairs)
    return result, time.perf_counter() - start


def math_verify_loop(pairs: list[Pair]) -> list[bool]:
    from math_verify import parse, verify

    return [bool(verify(parse(rf"\boxed{{{gold}}}"), parse(response))) for response, gold in pairs]


def in_one_process(pairs: list[Pair]) -> list[bool]:
    verifier = MathVerifier()
    return [verifier(response, gold, {}) is Verdict.CORRECT for response, gold in pairs]


def in_pool(pool: VerifierPool, pairs: list[Pair]) -> list[bool]:
    futures = [pool.submit(response, gold, {}) for response, gold in pairs]
    return [future.result() is Verdict.CORRECT for future in futures]


def worded_pairs(file: Path | None, count: int) -> list[Pair]:
    """Worked solutions that end in a marked answer, right or off by a little, in the ways models write it."""
    generator = random.Random(0)
    solutions = [json.loads(line)["answer"] for line in file.read_text().splitlines()] if file else []
    pairs = []
    for index in range(count):
        if solutions:
            text, _, gold = solutions[index % len(solutions)].rpartition("####")
            number = int(gold.strip().replace(",", ""))
        else:
            price, units = generator.randrange(2, 900), generator.randrange(2, 900)
            number = price * units
            text = f"Each of the {units} boxes costs ${price}.\nSo together they cost {units}*{price}=${number}.\n"
        stated = number if generator.random() < 0.6 else number + generator.choice((-10, -1, 1, 10, 100))
        form = generator.choice(
            (r"\boxed{%s}", r"The final answer is $\boxed{%s}$.", r"The answer is %s.", "**Answer:** %s")
        )
        pairs.append((text + form % (f"{stated:,}" if generator.random() < 0.5 else stated), str(number)))
    return pairs


if __name__ == "__main__":
    main()
