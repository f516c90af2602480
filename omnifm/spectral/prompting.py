"""Prefix-suffix spectral prompting (PSP; OmniFM, Sec. 3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnifm.spectral.fusion import attend


class PrefixSuffixPrompting(nn.Module):
    """One pre-norm transformer layer over ``r' = [Z ; r ; c]``, of which the positions of ``r`` are returned.

    The prefix ``Z`` comes from the shared bank; the suffix ``c`` is this client's own learned token and never leaves
    it. Above ``full_attention_up_to`` tokens, ``r`` attends to ``[Z ; c]`` only: the cost stays linear.
    The layer's two output projections start at zero, so that an untrained layer passes ``r`` on unchanged; with
    ``normalised``, normalised at the end.
    """

    def __init__(
        self, dim: int, heads: int, suffix: bool = True, full_attention_up_to: int = 256, normalised: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.full_attention_up_to = heads, full_attention_up_to
        self.suffix = nn.Parameter(torch.randn(1, 1, dim) * 0.02) if suffix else None
        self.norm_attention = nn.LayerNorm(dim)
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        self.norm_feed_forward = nn.LayerNorm(dim)
        self.feed_forward = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norm_out = nn.LayerNorm(dim) if normalised else nn.Identity()
        for last in (self.out, self.feed_forward[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, tokens: Float[Tensor, "batch length dim"], prefix: Float[Tensor, "batch m dim"] | None
    ) -> Float[Tensor, "batch length dim"]:
        """Condition ``tokens`` ``(batch, L, dim)`` on ``prefix`` ``(batch, m, dim)``, if any, and the suffix."""
        batch, length, _ = tokens.shape
        queries = self.norm_attention(tokens)
        before = [] if prefix is None else [self.norm_attention(prefix)]
        after = [] if self.suffix is None else [self.norm_attention(self.suffix).expand(batch, -1, -1)]
        prompts = [*before, *after]
        dense = length > self.full_attention_up_to and bool(prompts)
        keys = torch.cat(prompts if dense else [*before, queries, *after], dim=1)
        attended = attend(self.query(queries), self.key(keys), self.value(keys), self.heads)
        tokens = tokens + self.out(attended)
        mixed: Tensor = self.norm_out(tokens + self.feed_forward(self.norm_feed_forward(tokens)))
        return mixed
