"""Cross-attention of image tokens on retrieved prototypes (ECA: Embedding-wise Cross-Attention; OmniFM, Sec. 3)."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def attend(
    query: Float[Tensor, "batch length dim"],
    key: Float[Tensor, "batch keys dim"],
    value: Float[Tensor, "batch keys dim"],
    heads: int,
) -> Float[Tensor, "batch length dim"]:
    """Multi-head ``softmax(Q K^T / sqrt(d_h)) V`` of ``(batch, length, dim)`` tensors; returns query's shape."""

    def split(x: Float[Tensor, "batch any dim"]) -> Float[Tensor, "batch heads any head_dim"]:
        batch, length, dim = x.shape
        return x.reshape(batch, length, heads, dim // heads).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(split(query), split(key), split(value))
    return mixed.transpose(1, 2).flatten(2)


class PrototypeFusion(nn.Module):
    """Cross-attention of image tokens to retrieved prototypes: ``Z = softmax(Q K^T / sqrt(d_h)) V``.

    The queries are the image tokens pooled to ``prefix_tokens``, which keeps the cost linear in their number.
    With ``attention`` off, every query gets the projected mean of the prototypes.
    """

    def __init__(self, dim: int, prototype_dim: int, prefix_tokens: int, heads: int, attention: bool = True) -> None:
        super().__init__()
        self.prefix_tokens, self.heads, self.attention = prefix_tokens, heads, attention
        if attention:
            self.query = nn.Linear(dim, dim)
            self.key = nn.Linear(prototype_dim, dim)
        self.value = nn.Linear(prototype_dim, dim)

    def forward(
        self, tokens: Float[Tensor, "batch length dim"], prototypes: Float[Tensor, "batch k prototype_dim"]
    ) -> Float[Tensor, "batch m dim"]:
        """Fuse tokens ``(batch, L, dim)`` with prototypes ``(batch, k, prototype_dim)``: ``(batch, m, dim)``."""
        if not self.attention:
            mean = self.value(prototypes.mean(dim=1, keepdim=True))
            return cast(Tensor, mean.expand(-1, self.prefix_tokens, -1))
        pooled = _windows(tokens.shape[1], self.prefix_tokens, tokens.device) @ tokens
        return attend(self.query(pooled), self.key(prototypes), self.value(prototypes), self.heads)


@lru_cache
def _windows(length: int, count: int, device: torch.device) -> Float[Tensor, "{count} {length}"]:
    """Return the matrix ``(count, length)`` of means over ``count`` windows of as equal length as possible.

    It replaces torch's adaptive pooling, whose gradient is not deterministic on a GPU.
    """
    with torch.inference_mode(False):  # the cached tensor is also used in training
        return F.adaptive_avg_pool1d(torch.eye(length), count).T.contiguous().to(device)
