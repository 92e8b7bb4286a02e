"""What can be wrong with a row: each kind's weight in the order of reading, and how many rows of a file may have it."""

from dataclasses import dataclass

from mindgap_data.rewrite.leaks import NEAR_COPY


@dataclass(frozen=True)
class Kind:
    """A kind of fault in a row."""

    weight: int  # 10 spoils training, 1 deserves a look
    meaning: str
    tolerated: float  # share of the rows a rule looks at; above it the file has a finding, too
    advice: str  # what to do about the file


KINDS: dict[str, Kind] = {
    "duplicate_id": Kind(
        10, "the id of an earlier row", 0.0, "Give every row an id of its own: a repeated one is trained twice."
    ),
    "wrong": Kind(
        10,
        "checked again, the response is wrong",
        0.0,
        "Drop these rows, or name the verifier and options the file was made with.",
    ),
    "logprobs": Kind(
        8,
        "a self row whose behaviour and policy log-probs disagree",
        0.0,
        "Refresh them with `mindgap-data score`; they differ when the data are stale or another model was scored.",
    ),
    "template_text": Kind(
        8,
        "chat-template tokens inside the text",
        0.0,
        "Drop these rows, and check that the chat template is the one the model was trained with.",
    ),
    "leak": Kind(
        7,
        "mentions the reference solution",
        0.0,
        "A trained model would refer to solutions that nobody gave it: drop these rows.",
    ),
    "repetition": Kind(
        6, "the same words over and over", 0.01, "Drop these rows; a lower --max-tokens makes loops rarer."
    ),
    "no_answer": Kind(
        6,
        "checked again, no answer found",
        0.0,
        "Drop these rows, or name the verifier and options the file was made with.",
    ),
    "truncated": Kind(5, "the text looks cut off", 0.02, "Read these rows: a model learns to stop where they stop."),
    "language": Kind(
        5,
        "a script or language that prompt and expert do not use",
        0.02,
        "Name the language in the prompt with --instruction.",
    ),
    "checker_error": Kind(4, "the verifier could not settle it", 0.01, "Use another verifier, or drop these rows."),
    "answer_only": Kind(
        3,
        "an answer without the working the expert shows",
        0.1,
        "Answers without reasoning teach no reasoning: ask for a step-by-step solution with --instruction, and drop "
        "guided ones with `rewrite --require-working`.",
    ),
    "near_copy": Kind(
        2,
        f"{NEAR_COPY:.0%} or more of its 8-grams are the expert's",
        0.1,
        "These rows add little to the expert's text. Ask for the model's own words in the guided prompt.",
    ),
}
