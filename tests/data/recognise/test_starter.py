"""What is written for a folder: the manifest, and an experiment that fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_folders import labels_in_a_table, masks_beside_images, noise, save

from omnifm.config.experiment import make_plan
from omnifm.data.preparation import preparation_of
from omnifm.data.recognise.layout import FolderLayout
from omnifm.data.recognise.starter import USUAL_CLUSTER, Starter, starter
from omnifm.data.recognise.written import write_starter
from omnifm.spectral.bank import BankSettings
from omnifm.utils.errors import DataError


def made(root: Path, learned: str = "label", task: str = "classification", **columns: list[Any]) -> Starter:
    """Return what is made of images with these columns."""
    rows = pd.DataFrame({name: list(map(str, cells)) for name, cells in columns.items()})
    rows.insert(0, "image", [f"{number}.png" for number in range(len(rows))])
    for name in rows["image"]:
        save(root / name, noise(1, 40, 50))
    return starter(FolderLayout("images", rows, (learned,)), root, root / "out", task, learned)


def test_hospitals_are_clients_where_there_are_several(tmp_path: Path) -> None:
    labels = list("ab") * 6
    experiment = made(tmp_path, label=labels, institution=list("xxxxxxyyyyyy"), modality=["CT"] * 12).experiment
    assert experiment["partition"] == {"kind": "institution"}
    assert experiment["data"]["sources"] == [
        {"kind": "manifest", "table": "manifest.csv", "modality": "CT"},
    ]
    assert experiment["data"]["size"] == 32
    assert make_plan(experiment).arms


def test_modalities_are_clients_where_there_are_three(tmp_path: Path) -> None:
    made_ = made(tmp_path, label=list("ab") * 6, modality=["CT", "MR", "PET"] * 4)
    assert made_.experiment["partition"] == {"kind": "modality"}
    assert made_.manifest is not None
    assert "modality" in made_.manifest


def test_a_patient_of_several_modalities_is_not_torn(tmp_path: Path) -> None:
    patients = [number // 3 for number in range(30)]
    experiment = made(tmp_path, label=list("ab") * 15, modality=["CT", "MR", "PET"] * 10, patient=patients).experiment
    assert experiment["partition"] == {"kind": "iid", "clients": 3}


def test_as_many_clients_as_there_are_patients_for(tmp_path: Path) -> None:
    assert made(tmp_path, label=list("ab") * 3, modality=["CT"] * 6).experiment["partition"]["clients"] == 2
    with pytest.raises(DataError, match="too few patients"):
        made(tmp_path, label=list("ab"), modality=["CT"] * 2)


def test_rows_without_what_is_learned_are_left_out(tmp_path: Path) -> None:
    masks = ["", "m.png"] * 9
    manifest = made(tmp_path, "mask", "segmentation", mask=masks, modality=["US"] * 18).manifest
    assert manifest is not None
    assert len(manifest) == 9
    assert manifest["image"].iat[0] == "../1.png"
    assert manifest["mask"].iat[0] == "../m.png"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    masks_beside_images(tmp_path / "a")
    written = write_starter(tmp_path / "a", tmp_path / "out")
    assert [path.name for path in written.files] == ["manifest.csv", "experiment.toml"]
    with pytest.raises(DataError, match=r"manifest.csv exists already"):
        write_starter(labels_in_a_table(tmp_path / "b"), tmp_path / "out")


def test_prediction_reads_images_as_the_table_says(tmp_path: Path) -> None:
    """CT is read in a window; of a table with several modalities, the client's says which."""
    for cells, named in ((["CT"] * 12, ""), (["CT", "MR", "PET"] * 4, "CT")):
        experiment = made(tmp_path, label=list("ab") * 6, modality=cells).experiment
        data = next(iter(make_plan(experiment).arms.values())).data
        assert preparation_of(data, 2, 1, named).modality == "CT"
    assert preparation_of(data, 2, 1, "MR").modality == ""


def test_small_clients_have_prototypes_too(tmp_path: Path) -> None:
    """Else nobody could find out who is like whom, and each client would learn alone."""
    assert BankSettings().min_cluster == USUAL_CLUSTER
    small = made(tmp_path / "a", label=list("ab") * 9, modality=["CT"] * 18, patient=list(range(18)))
    assert small.experiment["bank"] == {"min_cluster": 4}
    assert any("A prototype is of 4 patient(s) or more" in sentence for sentence in small.chosen)
    assert make_plan(small.experiment).arms["omnifm"].bank.min_cluster == 4
    large = made(tmp_path / "b", label=list("ab") * 36, modality=["CT"] * 72)
    assert "bank" not in large.experiment
    repeated = made(tmp_path / "c", label=list("ab") * 18, modality=["CT"] * 36, patient=[n // 3 for n in range(36)])
    assert repeated.experiment["bank"] == {"min_cluster": 2}, "patients count, and not images"
