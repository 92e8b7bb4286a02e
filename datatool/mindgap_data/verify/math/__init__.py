"""Mathematics: does a response end in the reference answer, or in something equal to it?

From the outside in:

- ``verifier``    the ``math`` verifier: finds the answer, settles plain numbers at once, compares the rest
- ``closing``     the answer of a response that marks none: a number or formula in its last sentence
- ``choices``     letters of a multiple choice, and the values behind them
- ``unfinished``  sums and products nobody has worked out, which are no number
- ``remarks``     the answer without the words around it
- ``equality``    whether two answers say the same: by kind first, by value last
- ``canonical``   one form for number words, named sets, inequalities and intervals
- ``reading``     from a text to the kind of answer it is, one of those in ``kinds``
- ``sets``        set-builders and "all x such that", as conditions and intervals
- ``values``      what is compared by value alone: numbers, formulas, ratios, letters, equations
- ``evaluation``  expressions compared to 40 digits, with variables at several points
- ``exact``       expressions of rational numbers, exactly
- ``expression``  the parser of expressions
- ``symbolic``    math-verify, for sums, products, integrals and limits
- ``plain``       plain numbers, read without a parser; ``units`` reads the units after them
- ``latex``       one spelling for LaTeX, plain text and Unicode; ``brackets`` splits outside brackets

Every size is bounded before anything is computed, and no text is ever executed.
"""

from mindgap_data.verify.math.verifier import MathVerifier

__all__ = ["MathVerifier"]
