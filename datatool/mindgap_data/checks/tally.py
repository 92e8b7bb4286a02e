"""What one pass over a file's rows counts: draws by stage, faults by kind and tier, how each tier is written."""

from array import array
from collections import Counter
from collections.abc import Iterable

from mindgap_data.checks.finding import RowFinding
from mindgap_data.checks.kinds import KINDS
from mindgap_data.checks.style import StyleTally, response_style
from mindgap_data.record import Record, StageCounts
from mindgap_data.rewrite.leaks import words

OUTCOMES = tuple(StageCounts.model_fields)


class FileTally:
    """Counts over the rows of a file that were added."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()  # tier -> rows
        self.draws: dict[str, Counter[str]] = {}  # stage -> "sampled" and what became of it -> draws
        self.unchecked = 0  # self and guided rows that nobody checked
        self.faulty: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}  # kind -> tier -> rows with it
        self.style = StyleTally()
        # Words of the self and guided responses, and of their experts' texts.
        self.rewritten_words, self.expert_words = array("L"), array("L")

    def add(self, record: Record, findings: Iterable[RowFinding]) -> None:
        """Count one row in, with what was found wrong with it."""
        self.rows[record.tier] += 1
        for kind in {finding.kind for finding in findings}:
            self.faulty[kind][record.tier] += 1
        for stage, counts in record.attempts.by_stage().items():
            self.draws.setdefault(stage, Counter()).update(counts.model_dump(exclude={"unserved"}))
        style = response_style(record.messages[-1].content)
        self.style.add(record.tier, style)
        if record.tier != "expert":
            self.unchecked += record.provenance.verifier_kind == "unchecked"
            self.rewritten_words.append(style.words)
            self.expert_words.append(len(words(record.expert)))
