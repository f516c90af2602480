"""The noise is normal, of the width asked for, and known only to who has the secret."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import stats

from omnifm.privacy.noise import gaussian_noise, secret_coins
from omnifm.privacy.secret import ClientSecret


def test_it_is_standard_normal_and_independent() -> None:
    noise = gaussian_noise(ClientSecret(), 100_000, "noise")
    assert stats.kstest(noise, "norm").pvalue > 1e-4
    assert abs(float(noise.var()) - 1) < 0.03
    assert abs(float(stats.kurtosis(noise))) < 0.1
    assert abs(float(np.corrcoef(noise[:-1], noise[1:])[0, 1])) < 0.02


def test_the_same_names_give_the_same_noise_where_the_secret_is(tmp_path: Path) -> None:
    secret, again = ClientSecret(tmp_path / "secret"), ClientSecret(tmp_path / "secret")
    noise = gaussian_noise(secret, 10, "weights", 1)
    assert np.array_equal(noise, gaussian_noise(again, 10, "weights", 1))
    others = [gaussian_noise(secret, 10, "weights", 2), gaussian_noise(secret, 10, "weights", "1")]
    others += [gaussian_noise(secret, 10, "weights1"), gaussian_noise(ClientSecret(), 10, "weights", 1)]
    for other in others:
        assert not np.isin(noise, other).any()


def test_more_numbers_than_fit_into_a_chunk_go_on() -> None:
    secret = ClientSecret()
    many = gaussian_noise(secret, (1 << 18) + 3, "noise")
    assert len(np.unique(many)) == len(many) == (1 << 18) + 3
    assert np.array_equal(many[: 1 << 18], gaussian_noise(secret, 1 << 18, "noise"))
    assert not len(gaussian_noise(secret, 0, "noise"))


def test_coins_fall_as_often_as_they_should() -> None:
    coins = secret_coins(ClientSecret(), 20_000, 0.1, "patients")
    assert stats.binomtest(int(coins.sum()), 20_000, 0.1).pvalue > 1e-4
    assert secret_coins(ClientSecret(), 100, 1.0, "patients").all()
