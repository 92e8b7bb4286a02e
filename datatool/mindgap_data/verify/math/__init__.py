"""Mathematics: does a response end in the reference answer, or in something equal to it?

From the outside in:

- ``verifier``    the ``math`` verifier: finds the answer, settles plain numbers at once, compares the rest
- ``closing``     the answer of a response without a box: a number, letters or words in its last sentence
- ``marked``      what that sentence sets apart in bold type, dollars or backticks
- ``sentences``   the last sentence, and whether it concludes
- ``choices``     letters of a multiple choice, and the values behind them
- ``unfinished``  sums and products nobody has worked out, which are no number
- ``remarks``     the answer without the words around it
- ``equality``    whether two answers say the same: by kind first, by value last
- ``relations``   what an equation says, and whether it is true
- ``lists``       several answers against several: lists, sets, pairs, vectors, matrices
- ``regions``     parts of the real line: intervals, unions, conditions, set-builders
- ``canonical``   one form for number words, named sets and inequalities
- ``reading``     from a text to the kind of answer it is, one of those in ``kinds``
- ``options``     letters of a multiple choice, and words, as they are read
- ``values``      what is compared by value alone: numbers, formulas, ratios, letters, equations
- ``evaluation``  expressions compared to 40 digits, with variables at several points
- ``exact``       expressions of rational numbers, exactly
- ``expression``  the parser of expressions, over their ``tokens``
- ``symbolic``    math-verify, for sums, products, integrals and limits
- ``plain``       plain numbers, read without a parser; ``units`` reads the units after them
- ``latex``       one spelling for LaTeX, plain text and Unicode; ``brackets`` splits outside brackets

Every size is bounded before anything is computed, and no text is ever executed.
"""

from mindgap_data.verify.math.verifier import MathVerifier

__all__ = ["MathVerifier"]
