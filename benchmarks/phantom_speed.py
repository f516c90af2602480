"""How many phantom images one core makes per second: patient, slice and rendering together.

Run: ``python benchmarks/phantom_speed.py [images]``
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch

from omnifm.data.phantom import render
from omnifm.data.phantom.anatomy import load_anatomy
from omnifm.data.phantom.lesions import LESION_KINDS
from omnifm.data.phantom.patient import make_patient
from omnifm.data.phantom.scanner import MODALITIES, Scanner
from omnifm.utils.seeding import numpy_generator


def main(images: int) -> None:
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        anatomy = load_anatomy(Path(cache))
    print(f"anatomy prepared in {time.perf_counter() - start:.1f} s")
    scanners = {modality: Scanner.random(modality, seed=1, name="speed") for modality in MODALITIES}
    print("size  images  seconds  images/s")
    for size in (48, 64, 128):
        start = time.perf_counter()
        for index in range(images):
            kind = list(LESION_KINDS)[index % len(LESION_KINDS)]
            scanner = scanners[MODALITIES[index % len(MODALITIES)]]
            patient = make_patient(anatomy, kind, seed=1, name=f"p{index}")
            render(patient.slice(size), scanner, numpy_generator(1, "image", index))
        seconds = time.perf_counter() - start
        print(f"{size:4d}  {images:6d}  {seconds:7.2f}  {images / seconds:8.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
