from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from made_folders import lesion, masks_beside_images, noise, save
from small_run import write_images

from omnifm.data.check.finding import Finding
from omnifm.runs.data_check import check_file


def experiment(folder: Path, sources: list[dict[str, Any]], **changes: Any) -> Path:
    data = {"root": str(folder), "cache": str(folder / "cache"), "size": 16, "sources": sources}
    path = folder / "x.toml"
    path.write_text(tomli_w.dumps({"data": data, "partition": {"kind": "iid", "clients": 2}, **changes}))
    return path


def texts(found: list[Finding], severity: str = "error") -> list[str]:
    return [str(finding) for finding in found if finding.severity == severity]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, list[dict[str, Any]]]:
    return tmp_path, write_images(tmp_path, {"a": "CT"}, count=6)


def test_a_folder_in_order(folders: tuple[Path, list[dict[str, Any]]]) -> None:
    root, sources = folders
    found = check_file(experiment(root, sources))
    assert not texts(found)
    (text,) = texts(found, "warning")
    assert text.startswith(f"{root}/a: no patient_pattern says whose an image is: each counts as a patient of its own")


def test_every_file_of_a_folder_is_looked_at(folders: tuple[Path, list[dict[str, Any]]]) -> None:
    root, sources = folders
    (root / "a/left/0.png").write_bytes(b"no image")
    (root / "a/right/1.png").write_bytes(b"none either")
    save(root / "a/right/2.png", np.zeros((16, 16), np.uint8))
    save(root / "a/right/x.bmp", np.asarray(noise(5, 16, 16)))
    save(root / "a/left/y.png", np.asarray(noise(5, 16, 16)))
    found = check_file(experiment(root, sources))
    assert [text.partition(": ")[0] for text in texts(found)] == [
        f"{root}/a/left/0.png",
        f"{root}/a/right/1.png",
        f"{root}/a/right/2.png",
        f"{root}/a/right/x.bmp",
    ]
    assert "labelled 'right' here and 'left' there" in texts(found)[-1] or "scores would be" in texts(found)[-1]
    quick = check_file(experiment(root, sources), decode=False)
    assert not texts(quick), "without decoding, these are files as good as any"


def test_a_task_that_the_data_cannot_serve(folders: tuple[Path, list[dict[str, Any]]]) -> None:
    root, sources = folders
    for task in ("segmentation", "vqa", "image_fusion"):
        found = check_file(experiment(root, sources, task=task), decode=False)
        assert len(texts(found)) == 1, task
        assert texts(found)[0].startswith(f"{root}/x.toml: task = {task!r} needs ")


def test_a_size_that_the_network_cannot_take(tmp_path: Path) -> None:
    masks_beside_images(tmp_path)
    source = {"kind": "masked_folder", "folder": "Dataset_with_GT", "modality": "US", "region": "lesion"}
    source |= {"images": "*/*.png", "masks": "{folder}/{name}_mask*.png"}
    path = experiment(tmp_path, [source], task="segmentation")
    assert not texts(check_file(path, decode=False))
    (text,) = texts(check_file(path, ["data.size=20"], decode=False))
    assert "set data.size to a multiple of 8" in text


def test_a_partition_that_is_not_possible(folders: tuple[Path, list[dict[str, Any]]]) -> None:
    root, sources = folders
    (text,) = texts(check_file(experiment(root, sources), ["partition.clients=7"], decode=False))
    assert text.startswith("partition.kind = 'iid': Client")


def test_a_source_that_is_not_there(folders: tuple[Path, list[dict[str, Any]]]) -> None:
    root, sources = folders
    sources.append({"kind": "image_folder", "folder": "none", "modality": "CT"})
    (text,) = texts(check_file(experiment(root, sources), decode=False))
    assert text.startswith("data.sources.1 (image_folder): ")
    assert "none: no such folder" in text


def test_duplicates_between_the_splits_of_the_partition(tmp_path: Path) -> None:
    lines = ["image,label,patient"]
    for number in range(12):
        save(tmp_path / f"{number}.png", lesion(number)[0] if number else lesion(11)[0])
        lines.append(f"{number}.png,{'ab'[number % 2]},{number}")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    path = experiment(tmp_path, [{"kind": "manifest", "table": "t.csv", "modality": "US"}])
    for decode in (True, False):
        (text,) = texts(check_file(path, decode=decode))
        assert f"{tmp_path}/t.csv, row 13: is the same image as that of {tmp_path}/t.csv, row 2" in text


def test_a_source_that_holds_everything_in_one_file(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.random.default_rng(0).integers(0, 255, (4, 28, 28)).astype(np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [1], [0], [1]], np.uint8)
    arrays["train_images"][1] = 0
    np.savez(tmp_path / "breastmnist.npz", **arrays)
    path = experiment(tmp_path, [{"kind": "medmnist", "set": "breastmnist", "folder": "."}])
    found = texts(check_file(path))
    assert "medmnist, breastmnist/train/000001: its image shows nothing" in found[0]
    assert len(found) == 1 + 7, "of four images, three are in three splits and one in two"
