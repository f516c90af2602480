"""Images in files through trained models of every task, without the data that these were trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import write_series
from PIL import Image
from small_run import omnifm as command
from trained_runs import picture

import omnifm
from omnifm.utils.errors import DataError, ExperimentError

Trained = Callable[[str], omnifm.Run]


def png(path: Path, seed: int = 0, side: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, side)[0]).save(path)
    return path


def turned_volume(path: Path) -> Path:
    """Write a volume that is stored as few are: axes swapped and turned, voxels of three lengths."""
    affine = np.array([[0, 0, -2.0, 30], [1.5, 0, 0, -12], [0, -1.0, 0, 9], [0, 0, 0, 1]])
    values = np.random.default_rng(1).integers(0, 900, (12, 20, 10)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def opened(path: Path) -> Any:
    return nibabel.load(path)


def test_labels_of_a_client(trained: Trained, tmp_path: Path) -> None:
    images = [png(tmp_path / "new" / f"{n}.png", n, 20 + n) for n in range(3)]
    done = command(
        "predict", trained("classification").folder, tmp_path / "new", "--client", "CT", "--out", tmp_path / "o"
    )
    assert done.status == 0, done.text
    assert "The model of CT" in done.text
    table = pd.read_csv(tmp_path / "o/predictions.csv")
    assert list(table.columns) == ["file", "predicted", "left", "right"]
    assert list(table["file"]) == [str(path) for path in images]
    assert np.allclose(table["left"] + table["right"], 1, atol=1e-5)
    assert list(table["predicted"]) == list(table[["left", "right"]].idxmax(axis=1))


def test_a_file_is_prepared_as_in_training(trained: Trained, tmp_path: Path) -> None:
    run = trained("classification")
    model = run.model("MRI")
    image = png(tmp_path / "a.png", 3)
    values = picture(3)[0].astype(np.float32) / 255
    expected = model(torch.from_numpy(values)[None, None]).softmax(1)[0]
    found = run.predict(image, client="MRI")
    assert found.loc[0, ["left", "right"]].astype(float).tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_newcomer_gets_its_own_model(trained: Trained, tmp_path: Path) -> None:
    for n in range(10):
        png(tmp_path / f"new/{n}.png", n)
    found = trained("shared").predict(tmp_path / "new")
    assert len(found) == 10
    assert "took no part" in found.attrs["model"]
    few = trained("shared").predict(tmp_path / "new/0.png")
    assert "(1: more make that more reliable)" in few.attrs["model"]
    with pytest.raises(ExperimentError, match="Or name the client whose model to use: CT, MRI, PET"):
        trained("classification").predict(tmp_path / "new")


def test_what_cannot_be_read_is_listed_and_the_rest_predicted(trained: Trained, tmp_path: Path) -> None:
    png(tmp_path / "new/good.png")
    (tmp_path / "new/bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    done = command(
        "predict", trained("classification").folder, tmp_path / "new", "--client", "CT", "--out", tmp_path / "o"
    )
    assert done.status == 1
    assert "Not predicted: " in done.text
    assert "bad.png" in done.text
    assert "1 of 2 images" in done.text
    assert "Traceback" not in done.text
    assert len(pd.read_csv(tmp_path / "o/predictions.csv")) == 1
    with pytest.raises(DataError, match="None of the 1 images can be read"):
        trained("shared").predict(tmp_path / "new/bad.png")


def test_masks_of_pictures(trained: Trained, tmp_path: Path) -> None:
    png(tmp_path / "new/sub/a.png", side=40)
    run = trained("segmentation")
    found = run.predict(tmp_path / "new", client="CT", modality="CT", out=tmp_path / "o")
    with Image.open(tmp_path / "o" / found.loc[0, "mask"]) as written:
        mask = np.asarray(written)
    assert found.loc[0, "mask"] == "sub/a_mask.png"
    assert mask.shape == (40, 40)
    assert set(np.unique(mask)) <= {0, 255}
    assert found.loc[0, "lesion (pixels)"] == (mask > 0).sum()
    with pytest.raises(ExperimentError, match="name a folder"):
        run.predict(tmp_path / "new", client="CT")


def test_a_volume_slice_by_slice_keeps_its_place(trained: Trained, tmp_path: Path) -> None:
    volume = turned_volume(tmp_path / "v.nii.gz")
    found = trained("segmentation").predict(volume, client="MRI", out=tmp_path / "o")
    mask, given = opened(tmp_path / "o" / found.loc[0, "mask"]), opened(volume)
    assert mask.shape == given.shape
    assert np.allclose(mask.affine, given.affine)
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    assert found.loc[0, "lesion (ml)"] == pytest.approx(float(np.asarray(mask.dataobj).sum()) * 3.0 / 1000)


def test_a_series_gets_a_segmentation_object(trained: Trained, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "series")
    run, out = trained("segmentation"), tmp_path / "o"
    done = command("predict", run.folder, tmp_path / "series", "--client", "CT", "--out", out)
    assert done.status == 0, done.text
    mask, found = opened(out / "series_mask.nii.gz"), highdicom.seg.segread(out / "series_mask.dcm")
    assert mask.shape == (6, 8, 4)
    assert np.linalg.norm(mask.affine[:3, :3], axis=0).tolist() == pytest.approx([1, 2, 3])
    assert found.get_segment_description(1).segment_label == "lesion"
    assert len(list(found.get_source_image_uids())) == 4


def test_a_volume_by_sliding_window(trained: Trained, tmp_path: Path) -> None:
    volume = turned_volume(tmp_path / "v.nii.gz")
    found = trained("volumes").predict(volume, client="T2", out=tmp_path / "o")
    mask, given = opened(tmp_path / "o" / found.loc[0, "mask"]), opened(volume)
    assert mask.shape == given.shape
    assert np.allclose(mask.affine, given.affine)
    with pytest.raises(DataError, match="the network takes volumes"):
        trained("volumes").predict(png(tmp_path / "flat.png"), out=tmp_path / "p")


def test_enlarged_images(trained: Trained, tmp_path: Path) -> None:
    run, image = trained("super_resolution"), png(tmp_path / "a.png", side=22)
    found = run.predict(image, client="CT", out=tmp_path / "o")
    with Image.open(tmp_path / "o" / found.loc[0, "enlarged"]) as large:
        enlarged = np.asarray(large, np.float32)
    assert enlarged.shape == (44, 44)
    with Image.open(image) as given:
        plain = np.asarray(given.resize((44, 44), Image.Resampling.BICUBIC), np.float32)
    assert np.abs(enlarged - plain).mean() < 12
    volume = turned_volume(tmp_path / "v.nii.gz")
    found = run.predict(volume, client="CT", out=tmp_path / "o")
    fine, coarse = opened(tmp_path / "o" / found.loc[0, "enlarged"]), opened(volume)
    steps = np.linalg.norm(fine.affine[:3, :3], axis=0) / np.linalg.norm(coarse.affine[:3, :3], axis=0)
    assert sorted(steps) == pytest.approx([0.5, 0.5, 1.0])
    assert np.array(fine.shape) == pytest.approx(np.array(coarse.shape) / steps)
    corner = np.array([-0.5, -0.5, -0.5, 1])
    assert np.allclose(fine.affine @ corner, coarse.affine @ corner)


def test_pairs_from_a_table(trained: Trained, tmp_path: Path) -> None:
    png(tmp_path / "ct.png", 1, 60)
    colour = np.stack([picture(2, 60)[0], picture(3, 60)[0], picture(4, 60)[0]], axis=2)
    Image.fromarray(colour).save(tmp_path / "pet.png")
    (tmp_path / "t.csv").write_text("image;pair\npet.png;ct.png\n")
    run = trained("image_fusion")
    found = run.predict(table=tmp_path / "t.csv", client="PET-MRI", out=tmp_path / "o")
    with Image.open(tmp_path / "o" / found.loc[0, "fused"]) as fused:
        assert (fused.size, fused.mode) == ((60, 60), "RGB")
    alone = run.predict(
        [tmp_path / "ct.png", f"{tmp_path / 'ct.png'};{tmp_path / 'pet.png'}"], client="PET-MRI", out=tmp_path / "p"
    )
    assert list(alone.attrs["failed"]) == [str(tmp_path / "ct.png")]
    with Image.open(tmp_path / "p" / alone.loc[0, "fused"]) as fused:
        assert fused.mode == "L"


def test_answers(trained: Trained, tmp_path: Path) -> None:
    run, image = trained("vqa"), png(tmp_path / "a.png")
    client = run.load().clients[0]
    found = run.predict(image, client=client, question="Is there a lesion?")
    assert found.loc[0, "question"] == "Is there a lesion?"
    assert isinstance(found.loc[0, "answer"], str)
    (tmp_path / "t.csv").write_text("image,question\na.png,which side?\n")
    assert run.predict(table=tmp_path / "t.csv", client=client).loc[0, "question"] == "which side?"
    with pytest.raises(ExperimentError, match="nothing is asked"):
        run.predict(image, client=client)


def test_nothing_to_predict(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        trained("classification").predict(tmp_path / "empty")
    with pytest.raises(DataError, match="nothing to predict"):
        trained("classification").predict()
