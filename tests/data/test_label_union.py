"""The union of the classes of any sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from omnifm.data.federated_dataset import DataSettings, FederatedDataset, load_dataset
from omnifm.data.partition import PartitionSettings
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable, Subset

ROWS = 12
class_lists = st.lists(
    st.lists(st.sampled_from(["well", "torn", "bent", "ill", "odd"]), min_size=1, max_size=4, unique=True),
    min_size=1,
    max_size=3,
)


@dataclass(frozen=True)
class MadeSource:
    """Rows whose images are their number, with one class each, or with several."""

    name: str
    classes: tuple[str, ...]
    several: bool
    kind: str = "made"

    def load(self, loading: Loading) -> SourceTable:
        rows = torch.arange(ROWS)
        label = rows % len(self.classes)
        if self.several:
            label = (rows[:, None] // (1 + torch.arange(len(self.classes)))) % 2
        image = rows.float().view(-1, 1, 1, 1).expand(ROWS, 1, 2, 2)
        patients = tuple(f"{self.name}/{row}" for row in range(ROWS))
        same = (self.name,) * ROWS
        return SourceTable({"image": image, "label": label}, self.classes, patients, same, same)

    def bears(self, row: int) -> set[str]:
        """Return the names of the classes of a row, by other means than the library's."""
        if self.several:
            return {name for place, name in enumerate(self.classes) if row // (1 + place) % 2}
        return {self.classes[row % len(self.classes)]}


def united(sources: list[MadeSource], labels: tuple[str, ...] = ()) -> FederatedDataset:
    settings: Any = DataSettings(size=2, sources=tuple(sources))
    return load_dataset(settings, PartitionSettings(), seed=0, labels=labels)


@given(class_lists, st.data())
def test_every_row_has_its_own_classes_by_name(lists: list[list[str]], data: st.DataObject) -> None:
    sources = [
        MadeSource(f"S{n}", tuple(names), data.draw(st.booleans(), label="several")) for n, names in enumerate(lists)
    ]
    made = united(sources)
    assert made.label_names == tuple(dict.fromkeys(name for names in lists for name in names))
    for source in sources:
        client = made.client(source.name)
        rows = Subset.joined((client.train, client.validation, client.test)).whole()
        assert sorted(rows["image"][:, 0, 0, 0].tolist()) == list(range(ROWS))
        for row, target, allowed, exclusive in zip(
            rows["image"][:, 0, 0, 0].int().tolist(),
            rows["target"].tolist(),
            rows["allowed"].tolist(),
            rows["exclusive"].tolist(),
            strict=True,
        ):
            assert {n for n, held in zip(made.label_names, target, strict=True) if held} == source.bears(row)
            assert {n for n, may in zip(made.label_names, allowed, strict=True) if may} == set(source.classes)
            assert exclusive is not source.several


@given(class_lists, st.permutations(["well", "torn", "bent", "ill", "odd"]))
def test_the_classes_of_a_federation_stand_in_its_order(lists: list[list[str]], labels: list[str]) -> None:
    """A hospital with some of the classes gives its rows the same targets as with the data of all."""
    sources = [MadeSource(f"S{n}", tuple(names), False) for n, names in enumerate(lists)]
    alone = united(sources[:1], tuple(labels))
    assert alone.label_names == tuple(labels)
    one, all_of_them = (made.client("S0").train.whole()["target"] for made in (alone, united(sources, tuple(labels))))
    assert torch.equal(one, all_of_them)
