from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from omnifm.data.fingerprint import pseudonym
from omnifm.data.kept_split import KeptSplit
from omnifm.data.partition import PartitionSettings, partition_rows
from omnifm.data.patient_rows import ClientSplit, Rows
from omnifm.utils.errors import DataError

KEY = bytes(32)


def rows_of(patients: Sequence[str], modality: str = "", split: str | None = None) -> Rows:
    """Make a row for each patient, whose modality and institution is the first letter of the name if not given."""
    return Rows(
        patients=tuple(patients),
        modalities=tuple(modality or name[0] for name in patients),
        institutions=tuple(name[0] for name in patients),
        splits=(split,) * len(patients),
        classes=(0,) * len(patients),
    )


def places(shares: Sequence[ClientSplit], rows: Rows) -> dict[str, tuple[str, str]]:
    return {
        rows.patients[row]: (share.name, split)
        for share in shares
        for split in ("train", "validation", "test")
        for row in getattr(share, split)
    }


def kept(shares: Sequence[ClientSplit], rows: Rows) -> KeptSplit:
    found = {pseudonym(KEY, patient): place for patient, place in places(shares, rows).items()}
    return KeptSplit("runs/a", KEY, tuple(share.name for share in shares), found)


OLD = [f"{letter}{number}" for letter in "AB" for number in range(20)]
NEW = [f"{letter}{number}" for letter in "AB" for number in range(20, 30)]
CASES = (
    PartitionSettings(clients=4),
    PartitionSettings(kind="institution"),
    PartitionSettings(kind="iid", clients=3),
    PartitionSettings(kind="dirichlet", clients=2),
    PartitionSettings(kind="quantity", clients=2),
)


@pytest.mark.parametrize("settings", CASES, ids=lambda settings: settings.kind)
def test_the_same_patients_give_the_same_rows(settings: PartitionSettings) -> None:
    rows = rows_of(OLD)
    drawn = partition_rows(rows, settings, 0)
    assert kept(drawn, rows).partition(rows, settings, 7) == drawn


@pytest.mark.parametrize("settings", CASES, ids=lambda settings: settings.kind)
def test_nobody_moves_when_others_come_or_go(settings: PartitionSettings) -> None:
    old = rows_of(OLD)
    split = kept(partition_rows(old, settings, 0), old)
    before = places(split.partition(old, settings, 0), old)
    more = rows_of([*NEW[:5], *OLD[3:], *NEW[5:]])
    after = places(split.partition(more, settings, 0), more)
    assert {patient: after[patient] for patient in OLD[3:]} == {patient: before[patient] for patient in OLD[3:]}
    assert {after[patient][1] for patient in NEW} == {"train", "validation", "test"}
    fewer = rows_of([*reversed(OLD), *NEW[4:]])  # in another order, and without some of the new ones
    again = places(split.partition(fewer, settings, 0), fewer)
    assert {patient: again[patient] for patient in NEW[4:]} == {patient: after[patient] for patient in NEW[4:]}


def test_a_new_patient_goes_where_the_modality_is() -> None:
    settings, old = PartitionSettings(clients=4), rows_of(OLD)
    more = rows_of([*OLD, *NEW])
    found = places(kept(partition_rows(old, settings, 0), old).partition(more, settings, 0), more)
    assert {found[patient][0][0] for patient in NEW if patient[0] == "A"} == {"A"}
    assert {found[patient][0] for patient in NEW} == {"A-1", "A-2", "B-1", "B-2"}


def test_a_new_modality_or_institution_is_a_new_client() -> None:
    old, others = rows_of(OLD), [f"C{number}" for number in range(30)]
    for kind in ("modality", "institution"):
        settings = PartitionSettings(kind=kind)
        more = rows_of([*OLD, *others])
        shares = kept(partition_rows(old, settings, 0), old).partition(more, settings, 0)
        assert [share.name for share in shares] == ["A", "B", "C"]


def test_the_kept_split_goes_before_a_published_one_but_not_for_new_patients() -> None:
    settings, old = PartitionSettings(), rows_of(OLD, split="train")  # validation and test are taken from it
    drawn = partition_rows(old, settings, 0)
    more = rows_of([*OLD, *NEW], split="train")
    found = places(kept(drawn, old).partition(more, settings, 0), more)
    assert {patient: found[patient] for patient in OLD} == places(drawn, old)
    assert {found[patient][1] for patient in NEW} == {"train"}


def test_a_client_without_patients_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    settings, old = PartitionSettings(), rows_of(OLD)
    split, fewer = kept(partition_rows(old, settings, 0), old), rows_of(OLD[:20])
    with caplog.at_level(logging.WARNING):
        assert [share.name for share in split.partition(fewer, settings, 0)] == ["A"]
    assert "No patient of client 'B' of runs/a" in caplog.text


def test_another_number_of_clients_is_refused() -> None:
    old = rows_of(OLD)
    split = kept(partition_rows(old, PartitionSettings(), 0), old)
    with pytest.raises(DataError, match=r"partition.clients = 3, but runs/a, whose split is kept, has 2 clients"):
        split.partition(old, PartitionSettings(clients=3), 0)


def test_a_hospital_on_its_own_keeps_its_split() -> None:
    settings, old = PartitionSettings(), rows_of(OLD, "CT")
    split = kept(partition_rows(old, settings, 0), old)
    more = rows_of([*NEW, *OLD], "CT")
    (share,) = split.partition(more, settings, 0, whole_as="Mainz")
    assert share.name == "Mainz"
    found, before = places([share], more), places(partition_rows(old, settings, 0), old)
    assert {patient: found[patient][1] for patient in OLD} == {patient: place[1] for patient, place in before.items()}
