from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from omnifm.data.columns import Texts, read_texts
from omnifm.data.federated_dataset import DataSettings, FederatedDataset, load_dataset, pooled
from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.medmnist import MedMNISTSource
from omnifm.data.partition import PartitionSettings
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.source import Loading
from omnifm.data.sources import SOURCES
from omnifm.data.subset import Batch, ClientData, Columns, SourceTable, Subset
from omnifm.utils.errors import DataError


@dataclass(frozen=True)
class MadeSource:
    """Twelve rows whose images are their number, of the given classes in turn or of the given labels."""

    name: str
    classes: tuple[str, ...]
    label: torch.Tensor | None = None
    extra: Batch = field(default_factory=dict)
    kind: str = "made"

    def load(self, loading: Loading) -> SourceTable:
        image = torch.arange(12.0).view(12, 1, 1, 1).expand(12, loading.channels, loading.size, loading.size)
        label = torch.arange(12) % len(self.classes) if self.label is None else self.label
        return SourceTable(
            fields={"image": image, "label": label, **self.extra},
            label_names=self.classes,
            patients=tuple(f"{self.name}/{row}" for row in range(12)),
            modalities=(self.name,) * 12,
            institutions=(self.name,) * 12,
        )


def dataset(*sources: Any, partition: PartitionSettings | None = None) -> FederatedDataset:
    return load_dataset(DataSettings(size=2, sources=sources), partition or PartitionSettings(), seed=0)


def everything(client: ClientData) -> Batch:
    parts = (client.train, client.validation, client.test)
    fields = Subset.joined(parts).whole()
    order = fields["image"][:, 0, 0, 0].argsort()
    return {name: values[order] for name, values in fields.items()}


def test_sources_are_named_by_their_kind() -> None:
    assert SOURCES["phantom"] is PhantomSource
    phantom = {"phantom", "phantom_regions", "phantom_pairs", "phantom_questions"}
    files = {"manifest", "medmnist", "image_folder", "tile_folder", "breakhis", "masked_folder", "brats", "image_pairs"}
    asked = {"vqa_rad", "slake", "vqa_med"}
    assert SOURCES.keys() == phantom | files | asked


def test_classes_are_united_by_name() -> None:
    made = dataset(MadeSource("CT", ("well", "ill")), MadeSource("MRI", ("torn", "well", "bent")))
    assert made.label_names == ("well", "ill", "torn", "bent")
    ct, mri = everything(made.client("CT")), everything(made.client("MRI"))
    assert ct["target"][:2].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert mri["target"][:3].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    assert ct["allowed"].tolist() == [[True, True, False, False]] * 12
    assert mri["allowed"].tolist() == [[True, False, True, True]] * 12
    assert ct["exclusive"].all()
    assert (ct["target"].dtype, ct["allowed"].dtype, ct["exclusive"].dtype) == (
        torch.uint8,
        torch.bool,
        torch.bool,
    )
    assert "label" not in ct


def test_multi_label_rows_are_not_exclusive() -> None:
    label = torch.zeros(12, 2, dtype=torch.uint8)
    label[1] = 1
    made = dataset(MadeSource("CT", ("well", "ill")), MadeSource("X-ray", ("mass", "ill"), label=label))
    xray = everything(made.client("X-ray"))
    assert xray["target"][:2].tolist() == [[0, 0, 0], [0, 1, 1]]
    assert not xray["exclusive"].any()


def test_fields_that_only_some_sources_have_are_left_out() -> None:
    depth, mask = torch.arange(12), torch.zeros(12, 2, 2)
    made = dataset(
        MadeSource("CT", ("a", "b"), extra={"depth": depth, "grid": mask}),
        MadeSource("MRI", ("a", "b"), extra={"depth": depth}),
    )
    fields = everything(made.client("CT"))
    assert set(fields) == {"image", "depth", "target", "allowed", "exclusive"}
    assert torch.equal(fields["depth"], depth)


def test_labels_that_only_some_sources_have_are_left_out() -> None:
    made = dataset(MadeSource("CT", ("a", "b")), MadeSource("MRI", (), label=torch.zeros(12)))
    assert made.label_names == ()
    assert set(everything(made.client("CT"))) == {"image"}


def test_fields_of_different_shape_do_not_fit() -> None:
    one, other = ({"grid": torch.zeros(12, size)} for size in (2, 3))
    with pytest.raises(DataError, match=r"'grid' has the shapes \(2,\) and \(3,\)"):
        dataset(MadeSource("CT", ("a",), extra=one), MadeSource("MRI", ("a",), extra=other))


def test_groups_are_the_modalities() -> None:
    sources = MadeSource("MRI", ("a", "b")), MadeSource("CT", ("a", "b"))
    mixed = dataset(*sources, partition=PartitionSettings(kind="iid", clients=2))
    assert [client.group for client in mixed.clients] == ["CT+MRI", "CT+MRI"]
    assert [client.group for client in dataset(*sources).clients] == ["MRI", "CT"]


def test_pooled_is_all_hospitals_in_one() -> None:
    made = dataset(MadeSource("MRI", ("a", "b")), MadeSource("CT", ("b", "c")))
    whole = pooled(made)
    assert (whole.name, whole.group) == ("centralised", "CT+MRI")
    for split in ("train", "validation", "test"):
        parts = [getattr(client, split) for client in made.clients]
        assert len(getattr(whole, split)) == sum(map(len, parts))
        assert getattr(whole, split).patients == sum((part.patients for part in parts), ())
        # Rows of one pool, none copied.
        assert getattr(whole, split)._table is parts[0]._table
    assert torch.equal(whole.train.column("target")[:8], made.clients[0].train.column("target"))


def test_same_seed_same_dataset() -> None:
    data = DataSettings(size=2, sources=(MadeSource("CT", ("a", "b")),))
    one, same, other = (load_dataset(data, PartitionSettings(), seed) for seed in (0, 0, 1))
    assert one.clients[0].test.patients == same.clients[0].test.patients
    assert one.clients[0].test.patients != other.clients[0].test.patients


def test_single_class_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="omnifm"):
        dataset(MadeSource("CT", ("well", "ill")))
        assert not caplog.records
        dataset(MadeSource("CT", ("well", "ill"), label=torch.ones(12, dtype=torch.int64)))
    assert "training data of client 'CT' are of one class (ill)" in caplog.text


def test_many_clients_of_a_single_class_cost_one_line(caplog: pytest.LogCaptureFixture) -> None:
    source = MadeSource("CT", ("well", "ill"), label=torch.ones(12, dtype=torch.int64))
    with caplog.at_level(logging.WARNING, logger="omnifm"):
        dataset(source, partition=PartitionSettings(clients=4))
    (record,) = caplog.records
    assert "client 'CT-1' are of one class (ill), and so for 3 other clients" in record.getMessage()


def test_the_images_of_a_single_source_are_not_copied() -> None:
    image = torch.rand(12, 1, 2, 2)
    made = dataset(MadeSource("CT", ("a", "b"), extra={"image": image}), partition=PartitionSettings(clients=2))
    shared = {client.train._table["image"].data_ptr() for client in made.clients}
    assert shared == {image.data_ptr()}


def test_unknown_client_is_suggested() -> None:
    made = dataset(MadeSource("CT", ("a", "b")), MadeSource("MRI", ("a", "b")))
    with pytest.raises(DataError, match=r"no client 'MR'\. Did you mean 'MRI'"):
        made.client("MR")


def test_settings_are_read_by_kind() -> None:
    given = {
        "root": "/data",
        "sources": [
            {"kind": "medmnist", "set": "octmnist", "limit": 5},
            {"kind": "image_folder", "folder": "mednist", "modality": "CT", "classes": ["HeadCT"]},
            {"kind": "phantom"},
        ],
    }
    assert TypeAdapter(DataSettings).validate_json(json.dumps(given)) == DataSettings(
        root="/data",
        sources=(
            MedMNISTSource("octmnist", limit=5),
            ImageFolderSource("mednist", "CT", classes=("HeadCT",)),
            PhantomSource(),
        ),
    )


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"kind": "medmnist"}, ("sources", 0, "medmnist", "set")),
        ({"kind": "medmnist", "set": "brestmnist"}, ("sources", 0, "medmnist", "set")),
        ({"kind": "medmnist", "set": "octmnist", "limit": "all"}, ("sources", 0, "medmnist", "limit")),
        ({"kind": "mednist"}, ("sources", 0)),
    ],
)
def test_wrong_settings_name_their_place(wrong: dict[str, Any], place: tuple[object, ...]) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(DataSettings).validate_json(json.dumps({"sources": [wrong]}))
    assert caught.value.errors()[0]["loc"] == place


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"size\n.*greater than or equal to 1"):
        DataSettings(size=0)
    with pytest.raises(ValueError, match=r"channels\n.*1 or 3"):
        DataSettings(channels=2)
    with pytest.raises(ValueError, match=r"sources\n.*at least 1 item"):
        DataSettings(sources=())


def test_real_modalities_as_clients(shared_data: Path) -> None:
    ct = ImageFolderSource("mednist", "CT", classes=("AbdomenCT", "ChestCT", "HeadCT"), name="ct", limit=20)
    data = DataSettings(
        root=str(shared_data),
        size=16,
        sources=(
            ct,
            replace(ct, modality="X-ray", classes=("CXR", "Hand"), name="x-ray"),
            MedMNISTSource("breastmnist"),
            MedMNISTSource("pneumoniamnist", limit=50),
        ),
    )
    made = load_dataset(data, PartitionSettings(), seed=0)
    assert [client.name for client in made.clients] == ["CT", "X-ray", "ultrasound"]
    assert len(made.label_names) == 3 + 2 + 2 + 2
    ultrasound = made.client("ultrasound")
    assert (len(ultrasound.train), len(ultrasound.validation), len(ultrasound.test)) == (546, 78, 156)
    assert len(made.client("CT").train) == 36
    assert len(made.client("X-ray").train) == 24 + 50


@dataclass(frozen=True)
class MaskedSource:
    """Ten rows, the first four of which bear the first region, and row 0 the second too."""

    name: str
    regions: tuple[str, ...]
    kind: str = "masked"

    def load(self, loading: Loading) -> SourceTable:
        mask = torch.zeros(10, len(self.regions), 2, 2, dtype=torch.uint8)
        mask[:4, 0, 0] = 1
        mask[0, 1:, 1] = 1
        names = tuple(f"{self.name}/{row}" for row in range(10))
        image = torch.rand(10, 1, 2, 2)
        return SourceTable({"image": image, "mask": mask}, self.regions, names, (self.name,) * 10, (self.name,) * 10)


def test_masks_of_several_sources_get_a_place_for_every_region() -> None:
    made = dataset(MaskedSource("MR", ("tumour", "core")), MaskedSource("fundus", ("vessel",)))
    assert made.label_names == ("tumour", "core", "vessel")
    fields = everything(made.client("fundus"))
    assert fields["mask"].shape == (10, 3, 2, 2)
    assert fields["mask"][:, :2].sum() == 0
    assert fields["mask"][:, 2].amax(dim=(1, 2)).sum() == 4
    assert fields["target"].sum(dim=0).tolist() == [0, 0, 4]
    assert fields["allowed"].tolist() == [[False, False, True]] * 10
    assert everything(made.client("MR"))["target"].sum(dim=0).tolist() == [4, 1, 0]
    assert "exclusive" not in fields


@dataclass(frozen=True)
class BareSource:
    """Ten images with texts and no label."""

    name: str
    kind: str = "bare"

    def load(self, loading: Loading) -> SourceTable:
        names = tuple(f"{self.name}/{row}" for row in range(10))
        fields: Columns = {"image": torch.rand(10, 1, 2, 2), "note": Texts.of([self.name] * 10)}
        return SourceTable(fields, (), names, (self.name,) * 10, (self.name,) * 10)


def test_images_need_no_label() -> None:
    made = dataset(BareSource("MR"), BareSource("fundus"))
    assert made.label_names == ()
    fields = everything(made.client("fundus"))
    assert fields.keys() == {"image", "note"}
    assert read_texts(fields["note"]) == ["fundus"] * 10
