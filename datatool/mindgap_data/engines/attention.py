"""Attention of one new token a row over cached keys, without copying the keys once for each head of a group."""

from typing import Any

import torch

from mindgap_data.policy.head import causal_lm_of

NAME = "mindgap_grouped"


def use_grouped_attention(model: Any) -> None:
    """Give a model that runs torch's own attention this one; any other keeps what it has."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    causal = causal_lm_of(model)
    if causal.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    causal.set_attn_implementation(NAME)


def grouped_attention(
    module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **kwargs: Any
) -> tuple[Any, None]:
    """transformers' attention interface; a group's query heads become queries of one key head.

    Args:
        module: the attention layer.
        query: [rows, heads, queries, dimension].
        key: [rows, key heads, columns, dimension].
        value: as ``key``.
        attention_mask: None, or bool [rows, 1, queries, columns].
        scaling: of the products.
        kwargs: handed on where there are several queries a row.

    Returns:
        [rows, queries, heads, dimension] and None.
    """
    rows, heads, queries, _ = query.shape
    if queries > 1 or kwargs.get("position_bias") is not None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], -1)
    if attention_mask is not None:
        attention_mask = attention_mask.expand(rows, 1, grouped.shape[2], key.shape[2])
    out = torch.nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=scaling, dropout_p=kwargs.get("dropout", 0.0)
    )
    return out.reshape(rows, 1, heads, -1), None
