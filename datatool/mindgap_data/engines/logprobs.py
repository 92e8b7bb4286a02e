"""Per-token log-probs of given responses, without full logits: hidden states go through the head in chunks."""

from collections.abc import Sequence
from typing import Any

CHUNK = 1024  # positions at a time: [CHUNK, vocabulary] logits are all that is held


def response_logprobs(model: Any, rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
    """log pi(response_t | prompt, response_<t) at temperature 1, in float32.

    Args:
        model: a transformers CausalLM, PEFT-wrapped or not, in evaluation mode.
        rows: (prompt ids, response ids) pairs, run as one right-padded batch.

    Returns:
        One list per row, one float (nats) per response id.

    Raises:
        UserError: the model's logits are not what its head gives (see ``policy.head``).
    """
    import torch

    from mindgap_data.policy.head import check_head, final_hidden_states, head_of

    sequences = [[*prompt, *response] for prompt, response in rows]
    width = max(map(len, sequences))
    # Right padding under causal attention cannot reach a real token, so no mask is needed.
    ids = torch.tensor([s + [s[-1]] * (width - len(s)) for s in sequences], device=model.device)
    hidden, own_logits = final_hidden_states(model, input_ids=ids, use_cache=False)
    head = head_of(model)
    check_head(model, head, hidden[:, -1], own_logits)
    at = [(r, len(p) - 1 + t) for r, (p, y) in enumerate(rows) for t in range(len(y))]
    row_index, position = (torch.tensor(column, device=hidden.device) for column in zip(*at, strict=True))
    states = hidden[row_index, position]
    targets = ids[row_index, position + 1].to(head.weight.device)
    flat: list[float] = []
    for start in range(0, states.shape[0], CHUNK):
        logits = head.logits(states[start : start + CHUNK])
        picked = logits.gather(1, targets[start : start + CHUNK, None])[:, 0]
        flat.extend((picked - torch.logsumexp(logits, dim=-1)).clamp_(max=0.0).tolist())
    bounds = iter(flat)
    return [[next(bounds) for _ in response] for _, response in rows]
