"""The cache of prepared images: how much faster it is than decoding, and how much memory it takes.

Run: ``python benchmarks/image_cache.py [--images 100000] [--decoded 5000] [--json FILE]``. It makes grey images with
blurred shapes and noise (PNG or JPEG, ``--format``) in a folder of its own, and reads them in processes of their own:

- ``decode``: each image is read and prepared, and forgotten. Only ``--decoded`` of the images, since all take the same.
- ``fill``: the first loading of the data: everything is decoded, digested and written to the cache.
- ``cached``: a later loading, in which every byte of the cache is verified, and one pass over all images in random
  batches of 64, as float32.

``ms an image`` is wall-clock time, ``cpu ms`` the processor time of the process, which other programs disturb less;
``peak MB`` its highest resident memory, pages of mapped files among it, and ``start MB`` that before the data.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 64
SHAPES = 500
"""So many different pictures are drawn; each image is one of them with noise of its own, so that no two are alike."""


def make_images(root: Path, count: int, size: int, kind: str) -> None:
    import numpy as np
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(0)
    shapes = [
        (120 + 400 * gaussian_filter(noise.normal(size=(size, size)), 3)).clip(0, 239).astype(np.uint8)
        for _ in range(min(count, SHAPES))
    ]
    for label in ("left", "right"):
        (root / "images" / label).mkdir(parents=True)
    for number in range(count):
        path = root / "images" / ("left", "right")[number % 2] / f"{number:06d}.{kind}"
        values = shapes[number % len(shapes)] + noise.integers(16, size=(size, size), dtype=np.uint8)
        Image.fromarray(values).save(path, kind, **({"compress_level": 1} if kind == "png" else {}))
        os.utime(path, (1e9, 1e9))


def decode(root: Path, count: int, size: int) -> None:
    from omnifm.data.source import Loading
    from omnifm.data.source_images import SourceImages

    reader = SourceImages(Loading(root, size, 1, 0, root), "CT")
    for path in sorted((root / "images").rglob("*.*"))[:count]:
        reader.prepared(path)


def load(root: Path, size: int, passes: int) -> int:
    import torch

    from omnifm.data.federated_dataset import DataSettings, load_dataset
    from omnifm.data.image_folder import ImageFolderSource
    from omnifm.data.partition import PartitionSettings

    source = ImageFolderSource("images", "CT")
    data = DataSettings(root=str(root), size=size, cache=str(root / "cache"), sources=(source,))
    (client,) = load_dataset(data, PartitionSettings(), 0).clients
    parts, read = (client.train, client.validation, client.test), 0
    for part in parts * passes:
        for rows in torch.split(torch.randperm(len(part)), BATCH):
            read += len(part.batch(rows)["image"])
    return read


def measured(step: str, root: Path, count: int, size: int) -> dict[str, float]:
    """Do a step in this process and return what it took."""
    import torch

    import omnifm.data.federated_dataset

    assert omnifm.data.federated_dataset
    torch.set_num_threads(1)
    before, started, used = _peak(), time.perf_counter(), time.process_time()
    if step == "decode":
        decode(root, count, size)
    else:
        load(root, size, passes=int(step == "cached"))
    wall, cpu = time.perf_counter() - started, time.process_time() - used
    return {"ms": 1e3 * wall / count, "cpu": 1e3 * cpu / count, "peak": _peak(), "start": before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--decoded", type=int, default=5_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--format", choices=("png", "jpeg"), default="png")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(measured(given.step, given.root, given.images, given.size)))
        return
    found: dict[str, Any] = {"images": given.images}
    with tempfile.TemporaryDirectory() as folder:
        make_images(Path(folder), given.images, given.size, given.format)
        for step in ("decode", "fill", "cached"):
            count = min(given.decoded, given.images) if step == "decode" else given.images
            command = [sys.executable, __file__, "--step", step, "--root", folder, "--images", str(count)]
            printed = subprocess.run(
                [*command, "--size", str(given.size)], check=True, stdout=subprocess.PIPE, text=True
            )
            found[step] = one = json.loads(printed.stdout.splitlines()[-1])
            print(f"{step:8} {one['ms']:8.3f} ms an image {one['cpu']:8.3f} cpu ms", end="")
            print(f" {one['peak']:8.0f} peak MB {one['start']:8.0f} start MB", flush=True)
        found["faster"] = {key: found["decode"][key] / found["cached"][key] for key in ("ms", "cpu")}
        print(f"from the cache {found['faster']['ms']:.1f} times faster ({found['faster']['cpu']:.1f} by cpu ms)")
    if given.json:
        given.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
