from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import torch
from small_run import write_images

from omnifm.data.data_record import DataRecord
from omnifm.data.federated_dataset import DataSettings, FederatedDataset
from omnifm.data.image_folder import ImageFolderSource
from omnifm.data.partition import PartitionSettings
from omnifm.data.recorded_dataset import OtherDataError, load_hospital, load_recorded
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable


@pytest.fixture
def data(tmp_path: Path) -> DataSettings:
    write_images(tmp_path / "data", {"a": "CT"}, count=6)
    return DataSettings(root=str(tmp_path / "data"), size=8, cache_limit=0.0, sources=(ImageFolderSource("a", "CT"),))


def places(dataset: FederatedDataset) -> dict[str, str]:
    (client,) = dataset.clients
    parts = {"train": client.train, "validation": client.validation, "test": client.test}
    return {patient: split for split, part in parts.items() for patient in part.patients}


def test_a_hospital_keeps_its_split_when_patients_come(tmp_path: Path, data: DataSettings) -> None:
    record, settings = DataRecord(tmp_path / "state"), PartitionSettings()

    def load() -> dict[str, str]:
        return places(load_hospital(record, data, settings, 0, "Mainz"))

    first = load()
    assert load() == first
    written = next(record.folder.glob("split-*")).stat().st_mtime_ns
    load()
    assert next(record.folder.glob("split-*")).stat().st_mtime_ns == written  # nothing new, nothing written
    for index in range(6):
        shutil.copy(tmp_path / f"data/a/left/{index}.png", tmp_path / f"data/a/left/0new{index}.png")
    second = load()
    assert second.items() > first.items()
    assert load() == second
    shutil.rmtree(tmp_path / "data/a/right")
    shutil.copytree(tmp_path / "data/a/left", tmp_path / "data/b/left")
    more = DataSettings(
        root=data.root, size=8, cache_limit=0.0, sources=(*data.sources, ImageFolderSource("b", "CT", name="other"))
    )
    third = places(load_hospital(record, more, settings, 0, "Mainz"))  # the sources of the hospital are others now
    assert {name: third[name] for name in second if "/left/" in name} == {
        name: split for name, split in second.items() if "/left/" in name
    }


def test_looking_at_a_hospital_writes_nothing(tmp_path: Path, data: DataSettings) -> None:
    record = DataRecord(tmp_path / "state")
    load_hospital(record, data, PartitionSettings(), 0, "Mainz", write=False)
    assert not record.folder.exists()


def test_settings_that_a_later_version_adds_do_not_hide_the_record(tmp_path: Path, data: DataSettings) -> None:
    record = DataRecord(tmp_path)
    load_recorded(record, data, PartitionSettings(), 0)
    path = next(record.folder.glob("split-*"))
    text = path.read_text()
    assert '"answer_patients": 5, ' in text
    path.write_text(text.replace('"answer_patients": 5, ', ""), encoding="utf-8")  # as if it had not existed
    shutil.rmtree(tmp_path / "data/a/left")
    with pytest.raises(OtherDataError, match="the class 'left' is gone"):
        load_recorded(record, data, PartitionSettings(), 0)


@dataclass(frozen=True)
class OwnSource:
    """Reads nothing in a way that is taken down."""

    shade: float
    kind: Literal["own"] = "own"

    def load(self, loading: Loading) -> SourceTable:
        image = torch.full((9, 1, loading.size, loading.size), self.shade)
        names = tuple(f"p{index}" for index in range(9))
        fields = {"image": image, "label": torch.arange(9) % 2}
        return SourceTable(fields, ("x", "y"), names, ("CT",) * 9, ("own",) * 9)


def test_data_of_a_source_that_records_nothing_are_compared_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    record, partition = DataRecord(tmp_path / "run"), PartitionSettings()
    first = DataSettings(root=str(tmp_path), size=8, sources=(OwnSource(0.5),))
    load_recorded(record, first, partition, 0)
    load_recorded(record, first, partition, 0)
    path = next(record.folder.glob("split-*"))
    path.write_text(path.read_text().replace('"shade": 0.5', '"shade": 0.25'), encoding="utf-8")
    with pytest.raises(OtherDataError, match=r"1 file was changed, such as source 1 \(own\)"):
        load_recorded(record, DataSettings(root=str(tmp_path), size=8, sources=(OwnSource(0.25),)), partition, 0)
