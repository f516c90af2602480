from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import random_units, unit

from omnifm.spectral.kmeans import spherical_k_means


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def around(centre: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    return F.normalize(centre + 0.05 * torch.randn(count, len(centre), generator=seeded(seed)), dim=1)


@pytest.mark.parametrize("seed", range(5))
def test_finds_clusters_that_lie_apart(seed: int) -> None:
    centres = unit([1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1])
    parts = [around(centre, 6 + 2 * place, place) for place, centre in enumerate(centres)]
    centroids, sizes = spherical_k_means(torch.cat(parts), 4, seeded(seed))
    nearest = (centres @ centroids.T).argmax(dim=1)
    assert sizes[nearest].tolist() == [6, 8, 10, 12]
    expected = torch.stack([F.normalize(part.mean(dim=0), dim=0) for part in parts])
    torch.testing.assert_close(centroids[nearest], expected)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("clusters", "min_cluster"), [(8, 5), (3, 1), (16, 2), (1, 40)])
def test_every_centroid_stands_for_enough_samples(seed: int, clusters: int, min_cluster: int) -> None:
    tokens = random_units(40, 4, seed)
    centroids, sizes = spherical_k_means(tokens, clusters, seeded(seed), min_cluster)
    assert 1 <= len(centroids) == len(sizes) <= clusters
    assert int(sizes.sum()) == 40
    assert int(sizes.min()) >= min_cluster
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(len(centroids)))


def test_each_centroid_is_the_normalised_mean_of_its_members() -> None:
    tokens = random_units(60, 3, 4)
    centroids, sizes = spherical_k_means(tokens, 4, seeded(), min_cluster=2, iterations=100)
    member = np.argmax(tokens.numpy() @ centroids.numpy().T, axis=1)
    assert np.bincount(member).tolist() == sizes.tolist()
    for place, centroid in enumerate(centroids.numpy()):
        mean = tokens.numpy()[member == place].mean(axis=0)
        np.testing.assert_allclose(centroid, mean / np.linalg.norm(mean), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_small_clusters_join_their_neighbours(seed: int) -> None:
    large, small, far = (unit(row) for row in ([1, 0], [0.6, 0.8], [-1, 0]))
    tokens = torch.cat([large.expand(6, 2), small.expand(3, 2), far.expand(6, 2)])
    centroids, sizes = spherical_k_means(tokens, 3, seeded(seed), min_cluster=5)
    order = sizes.argsort()
    assert sizes[order].tolist() == [6, 9]
    expected = torch.cat([far, F.normalize(6 * large + 3 * small, dim=1)])
    torch.testing.assert_close(centroids[order], expected)


@pytest.mark.parametrize("token", [unit([1, 2, 3]), unit([0, 1, 0])])
def test_identical_tokens_give_one_centroid(token: torch.Tensor) -> None:
    centroids, sizes = spherical_k_means(token.expand(20, 3), 3, seeded())
    assert sizes.tolist() == [20]
    torch.testing.assert_close(centroids, token)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iterations", [1, 2, 20])
def test_every_centroid_is_the_mean_over_images_of_enough_patients(seed: int, iterations: int) -> None:
    tokens = random_units(96, 4, seed)
    patients = torch.cat([torch.zeros(48, dtype=torch.int64), 7 + torch.arange(48) // 4])  # one has half of all images
    centroids, sizes = spherical_k_means(tokens, 8, seeded(seed), 3, iterations, patients)
    assert 1 <= len(centroids) <= 13 // 3
    assert int(sizes.min()) >= 3
    assert int(sizes.max()) <= 13


def test_images_of_one_patient_give_no_centroid() -> None:
    tokens = random_units(40, 3)
    assert not len(
        spherical_k_means(tokens, 4, seeded(), min_cluster=2, patients=torch.zeros(40, dtype=torch.int64))[0]
    )
    few = torch.arange(40) % 4  # four patients
    assert spherical_k_means(tokens, 4, seeded(), min_cluster=5, patients=few)[0].shape == (0, 3)


@pytest.mark.parametrize("seed", range(5))
def test_with_one_image_a_patient_it_is_the_same_as_without_patients(seed: int) -> None:
    tokens, patients = random_units(60, 4, seed), torch.randperm(60, generator=seeded(seed))
    plain, grouped = (spherical_k_means(tokens, 6, seeded(seed), 3, patients=owners) for owners in (None, patients))
    assert torch.equal(plain[0], grouped[0])
    assert torch.equal(plain[1], grouped[1])


def test_the_patients_are_those_behind_the_mean_even_before_it_has_settled() -> None:
    for seed in range(20):
        tokens = random_units(30, 3, seed)
        centroids, sizes = spherical_k_means(tokens, 8, seeded(seed), min_cluster=1, iterations=1)
        again = [int(number) for number in sizes]
        assert sum(again) == 30
        means = [centroid for centroid, size in zip(centroids, again, strict=True) if size == 1]
        assert all(bool((tokens @ mean > 1 - 1e-5).any()) for mean in means), "one behind it: it is that token"


def test_tokens_that_cancel_out_have_no_mean() -> None:
    tokens = torch.cat([unit([1.0, 0]).expand(5, 2), unit([-1.0, 0]).expand(5, 2)])
    centroids, sizes = spherical_k_means(tokens, 1, seeded(), min_cluster=5)
    assert centroids.shape == (0, 2)
    assert sizes.tolist() == []


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_samples_give_none(count: int) -> None:
    centroids, sizes = spherical_k_means(random_units(count, 3), 4, seeded(), min_cluster=5)
    assert centroids.shape == (0, 3)
    assert sizes.tolist() == []


def test_no_more_clusters_than_the_samples_allow() -> None:
    centroids, sizes = spherical_k_means(random_units(14, 3), 9, seeded(), min_cluster=5)
    assert len(centroids) <= 2
    assert int(sizes.sum()) == 14


def test_the_generator_decides() -> None:
    tokens = random_units(50, 4)
    one, same = (spherical_k_means(tokens, 6, seeded(3))[0] for _ in range(2))
    assert torch.equal(one, same)
    assert any(not torch.equal(one, spherical_k_means(tokens, 6, seeded(s))[0]) for s in (4, 5, 6))
