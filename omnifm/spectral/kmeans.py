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
    patients: Int64[Tensor, "samples"] | None = None,
) -> tuple[Float[Tensor, "c dim"], Int64[Tensor, "c"]]:
    """Cluster unit vectors by cosine similarity (Dhillon and Modha, 2001).

    Clusters of fewer than ``min_cluster`` patients are dissolved into their neighbours, smallest first, so that every
    centroid is the mean over images of several patients.

    Args:
        tokens: ``(samples, dim)``, norm 1.
        clusters: maximum number of centroids.
        generator: source of the initial centroids (k-means++).
        min_cluster: minimum number of patients per centroid.
        iterations: maximum number of assignment rounds.
        patients: number of the patient of each sample, ``(samples,)``; if not given, each sample is its own patient.

    Returns:
        Centroids ``(c, dim)`` of norm 1 and how many patients are behind each, ``(c,)`` int64, with ``c <= clusters``;
        none if there are fewer than ``min_cluster`` patients.
    """
    owners = torch.arange(len(tokens)) if patients is None else torch.unique(patients, return_inverse=True)[1]
    clusters = min(clusters, len(torch.unique(owners)) // min_cluster)
    if clusters == 0:
        return _none(tokens)
    centroids = _spread(tokens, clusters, generator)
    member = _assign(tokens, centroids)
    for _ in range(iterations):
        averaged = member
        centroids = _centroids(tokens, averaged, centroids)
        member = _assign(tokens, centroids)
        if torch.equal(averaged, member):
            break
    sizes = _patients_behind(tokens, averaged, owners, clusters)  # of the means: the last assignment can be another
    while sizes.min() < min_cluster:
        keep = torch.arange(len(centroids)) != sizes.argmin()
        centroids = centroids[keep]
        if not len(centroids):
            return _none(tokens)
        member = _assign(tokens, centroids)
        centroids = _centroids(tokens, member, centroids)
        sizes = _patients_behind(tokens, member, owners, len(centroids))
    return centroids, sizes


def _none(tokens: Float[Tensor, "samples dim"]) -> tuple[Float[Tensor, "0 dim"], Int64[Tensor, "0"]]:
    return tokens.new_zeros(0, tokens.shape[1]), torch.zeros(0, dtype=torch.int64)


def _patients_behind(
    tokens: Float[Tensor, "samples dim"], member: Int64[Tensor, "samples"], owners: Int64[Tensor, "samples"], count: int
) -> Int64[Tensor, "c"]:
    """Count the patients of each cluster; 0 where the tokens cancel out, so that there is no mean."""
    pairs = torch.unique(torch.stack([member, owners]), dim=1)
    sums = torch.zeros(count, tokens.shape[1]).index_add_(0, member, tokens)
    behind: Int64[Tensor, "c"] = torch.bincount(pairs[0], minlength=count) * (sums.norm(dim=1) > 0)
    return behind


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
