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
        one list per row, one float (nats) per response id.
    """
    import torch

    sequences = [[*prompt, *response] for prompt, response in rows]
    width = max(map(len, sequences))
    # Right padding under causal attention cannot reach a real token, so no mask is needed.
    ids = torch.tensor([s + [s[-1]] * (width - len(s)) for s in sequences], device=model.device)
    hidden, project = _hidden_and_head(model, ids)
    at = [(r, len(p) - 1 + t) for r, (p, y) in enumerate(rows) for t in range(len(y))]
    row_index, position = (torch.tensor(column, device=hidden.device) for column in zip(*at, strict=True))
    states = hidden[row_index, position]
    targets = ids[row_index, position + 1].to(states.device)
    flat: list[float] = []
    for start in range(0, states.shape[0], CHUNK):
        logits = project(states[start : start + CHUNK]).float()
        picked = logits.gather(1, targets[start : start + CHUNK, None])[:, 0]
        flat.extend((picked - torch.logsumexp(logits, dim=-1)).clamp_(max=0.0).tolist())
    bounds = iter(flat)
    return [[next(bounds) for _ in response] for _, response in rows]


def _hidden_and_head(model: Any, ids: Any) -> tuple[Any, Any]:
    """Last hidden states [B, T, H] and the function from states [N, H] to the model's logits [N, V].

    The head as read from the config is checked against the model's own logits at the last position; a
    model whose head does more than is known here is run whole instead, which costs memory only.
    """
    import torch

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    captured: list[Any] = []
    hook = causal.get_decoder().register_forward_hook(lambda _module, _args, out: captured.append(out[0]))
    try:
        own = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
    finally:
        hook.remove()
    head, config = causal.get_output_embeddings(), causal.config.get_text_config()

    def project(states: Any) -> Any:
        logits = head(states)
        if scaling := getattr(config, "logits_scaling", None):  # Granite divides
            logits = logits / scaling
        if scale := getattr(config, "logit_scale", None):  # Cohere multiplies
            logits = logits * scale
        if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
            logits = torch.tanh(logits / cap) * cap
        return logits

    hidden = captured[0]
    if torch.allclose(project(hidden[:, -1]).float(), own.float(), rtol=1e-2, atol=1e-2):
        return hidden, project
    return model(input_ids=ids, use_cache=False).logits, lambda logits: logits
