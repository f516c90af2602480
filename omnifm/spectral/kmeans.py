"""Clustering of a client's spectral tokens into prototypes that may leave the hospital."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def spherical_k_means(
    tokens: Float[Tensor, "samples dim"],
    clusters: int,
    generator: torch.Generator,
    min_cluster: int = 5,
    iterations: int = 20,
) -> tuple[Float[Tensor, "c dim"], Int64[Tensor, "c"]]:
    """Cluster unit vectors by cosine similarity (Dhillon and Modha, 2001).

    Clusters of fewer than ``min_cluster`` members are dissolved into their neighbours, smallest first, so that every
    centroid is the mean of several images.

    Args:
        tokens: ``(samples, dim)``, norm 1.
        clusters: maximum number of centroids.
        generator: source of the initial centroids (k-means++).
        min_cluster: minimum number of samples per centroid.
        iterations: maximum number of assignment rounds.

    Returns:
        Centroids ``(c, dim)`` of norm 1 and their sizes ``(c,)`` int64, with ``c <= clusters``; none if there
        are fewer than ``min_cluster`` samples.
    """
    clusters = min(clusters, len(tokens) // min_cluster)
    if clusters == 0:
        return tokens.new_zeros(0, tokens.shape[1]), torch.zeros(0, dtype=torch.int64)
    centroids = _spread(tokens, clusters, generator)
    member = _assign(tokens, centroids)
    for _ in range(iterations):
        centroids = _centroids(tokens, member, centroids)
        moved = _assign(tokens, centroids)
        if torch.equal(moved, member):
            break
        member = moved
    sizes = torch.bincount(member, minlength=len(centroids))
    while sizes.min() < min_cluster:
        keep = torch.arange(len(centroids)) != sizes.argmin()
        centroids = centroids[keep]
        member = _assign(tokens, centroids)
        centroids = _centroids(tokens, member, centroids)
        sizes = torch.bincount(member, minlength=len(centroids))
    return centroids, sizes


def _assign(tokens: Float[Tensor, "samples dim"], centroids: Float[Tensor, "c dim"]) -> Int64[Tensor, "samples"]:
    return (tokens @ centroids.T).argmax(dim=1)


def _centroids(
    tokens: Float[Tensor, "samples dim"], member: Int64[Tensor, "samples"], before: Float[Tensor, "c dim"]
) -> Float[Tensor, "c dim"]:
    sums = torch.zeros_like(before).index_add_(0, member, tokens)
    empty = sums.norm(dim=1, keepdim=True) == 0
    return F.normalize(torch.where(empty, before, sums), dim=1)


def _spread(
    tokens: Float[Tensor, "samples dim"], clusters: int, generator: torch.Generator
) -> Float[Tensor, "{clusters} dim"]:
    """Choose initial centroids far from each other (k-means++, with 1 - cosine as the squared distance)."""
    chosen = [int(torch.randint(len(tokens), (1,), generator=generator))]
    distance = torch.full((len(tokens),), torch.inf)
    for _ in range(clusters - 1):
        distance = torch.minimum(distance, (1 - tokens @ tokens[chosen[-1]]).clamp(min=0))
        # The small constant lets identical tokens be drawn too.
        chosen.append(int(torch.multinomial(distance + 1e-9, 1, generator=generator)))
    return tokens[chosen]
