"""Llama's forward pass (Touvron et al. 2023) in plain tensor operations, for decoding on a CPU.

transformers' own spends most of a step of a small model in Python between its operations; this is the same arithmetic
on the same weights without that. `plain` says for which models it is.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu
from transformers import LlamaForCausalLM

LONGEST: Final = 32_768  # positions whose rotations are worth a table
_STATIC_ROTATIONS: Final = frozenset({"default", "linear", "llama3", "yarn"})  # they do not depend on what is read


class PlainLlama:
    """The forward pass of one model, whose weights it shares."""

    def __init__(self, model: Any) -> None:
        config = model.config
        self._model, self._eps, self._size = model, config.rms_norm_eps, model.model.layers[0].self_attn.head_dim
        self._groups = config.num_attention_heads // config.num_key_value_heads
        positions = torch.arange(config.max_position_embeddings)[None]
        cos, sin = model.model.rotary_emb(torch.zeros(1, 1, 1), position_ids=positions)
        self._cos, self._sin = cos[0], sin[0]

    def __call__(self, ids: Tensor, starts: Tensor | None, positions: Tensor, cache: Any, span: int) -> Tensor:
        """Logits (rows, vocabulary) after the last of `ids` (rows, width).

        The keys of a row are in `span` columns of the cache, `ids` in the last ones of them, and nothing of it is
        left of its column in `starts` (rows); None: all rows have all columns.
        """
        decoder, rows, width = self._model.model, *ids.shape
        mask = _mask(starts, width, span)
        causal = mask is None and width > 1
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        hidden = decoder.embed_tokens(ids)
        for index, layer in enumerate(decoder.layers):
            attention, read = layer.self_attn, self._normed(hidden, layer.input_layernorm)
            queries, keys, values = (
                linear(read, part.weight).view(rows, width, -1, self._size).transpose(1, 2)
                for part in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            keys, values = cache.update(_rotated(keys, cos, sin), values, index)
            if self._groups > 1:
                keys, values = (part.repeat_interleave(self._groups, dim=1) for part in (keys, values))
            found = scaled_dot_product_attention(
                _rotated(queries, cos, sin), keys, values, attn_mask=mask, is_causal=causal
            )
            hidden = hidden + linear(found.transpose(1, 2).reshape(rows, width, -1), attention.o_proj.weight)
            read, mlp = self._normed(hidden, layer.post_attention_layernorm), layer.mlp
            gated = silu(linear(read, mlp.gate_proj.weight)) * linear(read, mlp.up_proj.weight)
            hidden = hidden + linear(gated, mlp.down_proj.weight)
        last: Tensor = self._normed(hidden[:, -1], decoder.norm)
        return linear(last, self._model.lm_head.weight)

    def _normed(self, hidden: Tensor, norm: Any) -> Tensor:
        return rms_norm(hidden, (hidden.size(-1),), norm.weight, self._eps)


def plain(model: Any) -> PlainLlama | None:
    """The plain forward pass of a model, where it has one: an unchanged Llama in float32 on the CPU."""
    if type(model) is not LlamaForCausalLM or model.device.type != "cpu" or model.dtype != torch.float32:
        return None
    config = model.config
    rotation = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    usual = (
        config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
        and rotation in _STATIC_ROTATIONS
        and config.max_position_embeddings <= LONGEST
        and all(type(part) is nn.Linear for part in model.modules() if isinstance(part, nn.Linear))
        and not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())  # noqa: SLF001
    )
    return PlainLlama(model) if usual else None


def _mask(starts: Tensor | None, width: int, span: int) -> Tensor | None:
    """What each of the last `width` columns may look at, (rows, 1, width, span); None: everything, or causally."""
    if starts is None and width in {1, span}:
        return None
    columns = torch.arange(span)
    seen = columns <= columns[span - width :, None]  # (width, span)
    return seen[None, None] if starts is None else seen & (columns >= starts[:, None, None, None])


def _rotated(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021), halves as in transformers."""
    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat((-second, first), dim=-1) * sin
