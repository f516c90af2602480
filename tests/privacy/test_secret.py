from __future__ import annotations

import copy
import stat
from pathlib import Path

import numpy as np
import pytest

from omnifm.checkpoint.client_store import ClientStateStore
from omnifm.privacy.secret import BYTES, ClientSecret, private_generator
from omnifm.utils.errors import CheckpointError


def test_it_is_made_once_and_its_owner_alone_can_read_it(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    secret = folder.secret("PET/CT")
    assert not list(tmp_path.iterdir()), "nobody has asked for it yet"
    value = secret.value
    (path,) = tmp_path.glob("*/*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == value == folder.secret("PET/CT").value
    assert len(value) == BYTES == 32
    assert folder.secret("MRI").value != value


def test_it_stays_where_states_come_and_go(tmp_path: Path) -> None:
    folder = ClientStateStore(tmp_path)
    value = folder.secret("a").value
    folder.keep_only(())
    assert folder.secret("a").value == value


def test_it_is_neither_printed_nor_pickled(tmp_path: Path) -> None:
    secret = ClientSecret(tmp_path / "secret")
    assert secret.value.hex() not in repr(secret)
    assert str(secret.value) not in repr(secret)
    with pytest.raises(TypeError, match="stays where it is"):
        copy.copy(secret)


def test_without_a_place_it_lasts_as_long_as_the_object() -> None:
    one, other = ClientSecret(), ClientSecret()
    assert one.value == one.value != other.value


def test_a_damaged_one_is_reported(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"secret is damaged\. Remove it and start the run anew"):
        _ = ClientSecret(tmp_path / "secret").value


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file/secret cannot be used: File exists"):
        _ = ClientSecret(tmp_path / "file" / "secret").value


def drawn(secret: ClientSecret, *names: object) -> list[float]:
    return private_generator(secret, *names).standard_normal(4).tolist()


def test_a_generator_depends_on_the_secret_and_on_every_name(tmp_path: Path) -> None:
    secret, again = ClientSecret(tmp_path / "secret"), ClientSecret(tmp_path / "secret")
    assert drawn(secret, "noise", 1) == drawn(again, "noise", 1)
    others = [drawn(secret, "noise", 2), drawn(secret, "noise"), drawn(secret, "noise1"), drawn(secret, "noise", "1")]
    others.append(drawn(ClientSecret(), "noise", 1))
    assert all(other != drawn(secret, "noise", 1) for other in others)


def test_its_numbers_are_of_the_distribution_asked_for() -> None:
    numbers = private_generator(ClientSecret(), "noise").standard_normal(100_000)
    assert np.abs(numbers.mean()) < 0.02
    assert np.abs(numbers.std() - 1) < 0.02
