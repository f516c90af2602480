from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnifm.data.partition import PartitionSettings, partition_rows
from omnifm.data.patient_rows import ClientSplit, Rows
from omnifm.utils.errors import DataError

SPLITS = ("train", "validation", "test")


def rows(
    patients: int,
    modalities: int = 1,
    each: int = 1,
    classes: int = 2,
    split: bool = False,
    institutions: int = 1,
) -> Rows:
    """Make ``each`` rows for every patient, with modalities and classes in turn; splits are 2 : 1 : 1."""
    owner = [patient for patient in range(patients) for _ in range(each)]
    published = ("train", "train", "validation", "test")
    return Rows(
        patients=tuple(f"p{patient}" for patient in owner),
        modalities=tuple(f"M{patient % modalities}" for patient in owner),
        institutions=tuple(f"I{patient * institutions // patients}" for patient in owner),
        splits=tuple(published[patient // modalities % 4] if split else None for patient in owner),
        classes=tuple(patient // modalities % classes for patient in owner),
    )


def assigned_rows(share: ClientSplit) -> tuple[int, ...]:
    return share.train + share.validation + share.test


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["modality", "dirichlet", "quantity", "iid", "institution"]),
    clients=st.integers(0, 6),
    alpha=st.sampled_from([0.001, 0.5, 100.0]),
    modalities=st.integers(1, 3),
    each=st.integers(1, 3),
    classes=st.integers(1, 4),
    split=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_every_row_is_assigned_once_and_no_patient_twice(
    kind: Any, clients: int, alpha: float, modalities: int, each: int, classes: int, split: bool, seed: int
) -> None:
    all_rows = rows(160, modalities, each, classes, split, institutions=2)
    if kind == "institution":
        clients = 0
    if kind == "modality" and clients:
        clients = max(clients, modalities)
    asked = PartitionSettings(kind=kind, clients=clients, alpha=alpha)
    shares = partition_rows(all_rows, asked, seed)

    expected = clients or (2 if kind == "institution" else modalities)
    assert len({share.name for share in shares}) == len(shares) == expected
    counts = Counter(row for share in shares for row in assigned_rows(share))
    assert counts == dict.fromkeys(range(len(all_rows.patients)), 1)
    places = {
        (all_rows.patients[row], share.name, split)
        for share in shares
        for split in SPLITS
        for row in getattr(share, split)
    }
    assert len(places) == 160, "a patient is in two hospitals or in two splits"
    if split:
        for share in shares:
            for name in SPLITS:
                assert {all_rows.splits[row] for row in getattr(share, name)} == {name}
    assert partition_rows(all_rows, asked, seed) == shares


def test_another_seed_deals_otherwise() -> None:
    asked = PartitionSettings(kind="iid", clients=2)
    assert partition_rows(rows(40), asked, 0) != partition_rows(rows(40), asked, 1)


def test_modality_names_and_extra_hospitals() -> None:
    # M0 has 7 patients, M1 has 6 and M2 has 6: the first of the largest gets the odd hospital.
    shares = partition_rows(rows(19, modalities=3), PartitionSettings(clients=4), 0)
    assert [share.name for share in shares] == ["M0-1", "M0-2", "M1", "M2"]
    assert sorted(len(assigned_rows(share)) for share in shares) == [3, 4, 6, 6]


def test_iid_gives_each_hospital_every_modality_evenly() -> None:
    all_rows = rows(48, modalities=3)
    for share in partition_rows(all_rows, PartitionSettings(kind="iid", clients=4), 0):
        assert Counter(all_rows.modalities[row] for row in assigned_rows(share)) == {"M0": 4, "M1": 4, "M2": 4}


def test_institution_is_one_client_each() -> None:
    all_rows = rows(20, institutions=2)
    shares = partition_rows(all_rows, PartitionSettings(kind="institution"), 0)
    assert [share.name for share in shares] == ["I0", "I1"]
    assert {all_rows.institutions[row] for row in assigned_rows(shares[1])} == {"I1"}


def skew(alpha: float) -> float:
    """Return how far, on average, the hospitals' class distributions lie from the whole (total variation)."""
    all_rows = rows(400, classes=4)
    shares = partition_rows(all_rows, PartitionSettings(kind="dirichlet", clients=5, alpha=alpha), 0)
    assert [len(assigned_rows(share)) for share in shares] == [80] * 5
    labels = np.array(all_rows.classes)
    own = [np.bincount(labels[list(assigned_rows(share))], minlength=4) / 80 for share in shares]
    return float(np.mean([abs(part - 0.25).sum() / 2 for part in own]))


def test_dirichlet_skews_classes_the_more_the_smaller_alpha() -> None:
    assert skew(0.1) > 0.4
    assert skew(1000.0) < 0.15


def test_quantity_skews_sizes_the_more_the_smaller_alpha() -> None:
    def sizes(alpha: float) -> list[int]:
        asked = PartitionSettings(kind="quantity", clients=4, alpha=alpha)
        return [len(assigned_rows(share)) for share in partition_rows(rows(400), asked, 0)]

    assert max(sizes(0.1)) > 250
    assert min(sizes(0.1)) >= 3, "each hospital has a patient for each split"
    assert max(sizes(1e4)) - min(sizes(1e4)) < 20


def test_fractions_and_balance_of_the_split() -> None:
    all_rows = rows(100, classes=2)
    (share,) = partition_rows(all_rows, PartitionSettings(validation=0.1, test=0.3), 0)
    assert [len(getattr(share, split)) for split in SPLITS] == [60, 10, 30]
    assert Counter(all_rows.classes[row] for row in share.test) == {0: 15, 1: 15}


def test_published_and_unpublished_rows_side_by_side() -> None:
    published, own = rows(8, split=True), rows(10)
    both = Rows(
        patients=(*published.patients, *(f"q{patient}" for patient in own.patients)),
        modalities=published.modalities + own.modalities,
        institutions=published.institutions + own.institutions,
        splits=published.splits + own.splits,
        classes=published.classes + own.classes,
    )
    (share,) = partition_rows(both, PartitionSettings(), 0)
    assert {row for row in share.test if row < 8} == {3, 7}
    assert len(share.test) == 2 + 2


def test_two_patients_are_enough_for_validation_and_test() -> None:
    # A fifth of two patients is rounded to none, and each of these splits needs one.
    beside_a_published_one = Rows(("a", "b", "c"), ("M",) * 3, ("I",) * 3, ("train", None, None), (0, 0, 0))
    (share,) = partition_rows(beside_a_published_one, PartitionSettings(validation=0.2, test=0.2), 0)
    assert share.train == (0,)
    assert (len(share.validation), len(share.test)) == (1, 1)


def test_patient_of_several_published_splits_stays_as_published(caplog: pytest.LogCaptureFixture) -> None:
    torn = Rows(("a", "a", "b"), ("M",) * 3, ("I",) * 3, ("train", "test", "validation"), (0, 0, 0))
    with caplog.at_level(logging.WARNING, logger="omnifm"):
        (share,) = partition_rows(torn, PartitionSettings(), 0)
    assert share == ClientSplit("M", (0,), (2,), (1,))
    assert "1 patients have rows in several published splits (such as 'a')" in caplog.text


def test_more_clients_than_patients() -> None:
    with pytest.raises(DataError, match="clients = 4, but the sources hold 3 patients"):
        partition_rows(rows(3, each=5), PartitionSettings(kind="iid", clients=4), 0)


def test_fewer_clients_than_modalities() -> None:
    with pytest.raises(DataError, match=r"clients = 2, but the sources hold 3 modalities \(M0, M1, M2\)"):
        partition_rows(rows(30, modalities=3), PartitionSettings(clients=2), 0)


def test_wrong_number_of_institutions() -> None:
    with pytest.raises(DataError, match=r"clients = 3, but the sources hold 2 institutions \(I0, I1\)"):
        partition_rows(rows(30, institutions=2), PartitionSettings(kind="institution", clients=3), 0)


def test_patient_of_two_modalities_is_not_torn_apart() -> None:
    shared = Rows(("a", "a"), ("CT", "MRI"), ("I", "I"), (None, None), (0, 0))
    with pytest.raises(DataError, match=r"Patient 'a' has images of CT and MRI.*another partition.kind"):
        partition_rows(shared, PartitionSettings(), 0)


def test_client_without_samples_is_named() -> None:
    with pytest.raises(DataError, match="Client 'M0' has no sample for train"):
        partition_rows(rows(2), PartitionSettings(), 0)
    only_train = Rows(("a", "b"), ("M", "M"), ("I", "I"), ("train", "train"), (0, 1))
    with pytest.raises(DataError, match="Client 'M' has no sample for validation"):
        partition_rows(only_train, PartitionSettings(), 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clients": -1}, "clients\n.*greater than or equal to 0"),
        ({"validation": 0.0}, "validation\n.*greater than 0"),
        ({"test": 0.0}, "test\n.*greater than 0"),
        ({"alpha": 0.0}, "alpha\n.*greater than 0"),
        ({"alpha": float("inf")}, "alpha\n.*finite"),
        ({"alpha": float("nan")}, "alpha\n.*finite"),
        ({"validation": -0.1}, "validation\n.*greater than 0"),
        ({"test": 1.0}, "test\n.*less than 1"),
        ({"validation": 0.5, "test": 0.5}, "must be below 1: nothing would train"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PartitionSettings(**wrong)
