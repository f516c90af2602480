"""A run of each task, as small as can be, on images in files; its data are moved away after training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from small_run import write_images

import omnifm

SIZES = {"image_fusion": 48, "volumes": 16}


def train(task: str, folder: Path) -> omnifm.Run:
    """Train a run for one round, and remove its data.

    Besides the tasks there are ``volumes``, which are segmented, and ``shared``, which are classified by one model.
    """
    data = folder / "data"
    settings = {"size": SIZES.get(task, 16), "root": str(data), "cache": str(folder / "cache"), "answer_patients": 1}
    content: dict[str, Any] = {
        "task": {"volumes": "segmentation", "shared": "classification"}.get(task, task),
        "name": f"tiny-{task}",
        "algorithm": "omnifm",
        "data": {**settings, "sources": SOURCES[task](data)},
        "training": {"batch_size": 4},
        "federation": {"rounds": 1, "evaluate_every": 1, "evaluate": ["before_local_training"], "acceptance": "off"},
        "adapter": {"grid": 5, "token_dim": 8},
        "bank": {"min_cluster": 1, "prototypes": 3},
        "omnifm": {"variant": "paper" if task == "shared" else "circles"},
        "classification": {"width": 8},
        "segmentation": {"depth": 2},
        "vqa": {"compact": {"width": 8, "answer_bytes": 4, "layers": 1}},
    }
    run = omnifm.run(content, out=folder / "run", workers=1)
    shutil.rmtree(data, ignore_errors=True)
    return run


def picture(seed: int, side: int = 16, lesion: bool = True) -> tuple[Any, Any]:
    """Return an image of uint8 and the mask of what is bright in it."""
    draw = np.random.default_rng(seed)
    mask = np.zeros((side, side), bool)
    if lesion:
        top, left = draw.integers(1, side // 2, 2)
        mask[top : top + side // 3, left : left + side // 3] = True
    return (draw.integers(0, 80, (side, side)) + 150 * mask).astype(np.uint8), mask


def _masked(root: Path) -> list[dict[str, Any]]:
    for number, hospital in enumerate("ab"):
        for kind in ("images", "masks"):
            (root / hospital / kind).mkdir(parents=True)
        for index in range(8):
            image, mask = picture(100 * number + index)
            Image.fromarray(image).save(root / hospital / f"images/{index}.png")
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / hospital / f"masks/{index}.png")
    common = {"kind": "masked_folder", "region": "lesion", "images": "images/*.png", "masks": "masks/{name}.png"}
    return [{**common, "folder": name, "modality": kind} for name, kind in (("a", "CT"), ("b", "MRI"))]


def _pairs(root: Path) -> list[dict[str, Any]]:
    for number, pair in enumerate(("CT-MRI", "PET-MRI")):
        for modality in pair.split("-"):
            (root / "pairs" / pair / modality).mkdir(parents=True)
            for index in range(6):
                image, _ = picture(1000 * number + index + len(modality), 48)
                Image.fromarray(image).save(root / "pairs" / pair / modality / f"{index}.png")
    return [{"kind": "image_pairs", "folder": "pairs"}]


def _cases(root: Path) -> list[dict[str, Any]]:
    import nibabel

    draw = np.random.default_rng(0)
    for case in range(6):
        place = root / f"brats/case{case}"
        place.mkdir(parents=True)
        codes = np.zeros((16, 16, 16), np.uint8)
        codes[3 + case : 8 + case, 4:10, 5:11] = 2
        codes[4 + case : 7 + case, 5:9, 6:10] = 4
        for what in ("t2", "flair"):
            values = (draw.integers(50, 100, codes.shape) + 80 * (codes > 0)).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), place / f"case{case}_{what}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(codes, np.eye(4)), place / f"case{case}_seg.nii.gz")
    more = {"sequences": ["t2", "flair"], "per_sequence": True, "axes": 3, "field_of_view": 16.0}
    return [{"kind": "brats", **more}]


def _questions(root: Path) -> list[dict[str, Any]]:
    return [{"kind": "phantom_questions", "modalities": ["T1", "CT"], "patients": 6, "questions": 2}]


SOURCES = {
    "classification": write_images,
    "shared": write_images,
    "segmentation": _masked,
    "super_resolution": write_images,
    "image_fusion": _pairs,
    "vqa": _questions,
    "volumes": _cases,
}
