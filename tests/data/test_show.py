from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from omnifm.data.show import MOST_CLIENTS, describe, picture
from omnifm.data.subset import ClientData, Subset


def examples(rows: int, classes: int, channels: int = 1) -> Subset:
    target = torch.zeros(rows, classes, dtype=torch.uint8)
    target[torch.arange(rows), torch.arange(rows) % classes] = 1
    return Subset(
        {"image": torch.rand(rows, channels, 8, 8), "target": target},
        tuple(f"p{row // 2}" for row in range(rows)),
    )


def client(name: str, classes: int = 3, channels: int = 1) -> ClientData:
    empty = examples(0, classes, channels)
    return ClientData(name, "CT", examples(4, classes, channels), empty, examples(3, classes, channels))


def test_describe_counts_samples_patients_and_classes() -> None:
    (row,) = describe((client("north"),), ("set/a", "set/b", "c"))
    assert row == {
        "client": "north",
        "group": "CT",
        "train": 4,
        "validation": 0,
        "test": 3,
        "patients": 2,
        "labels": {"set/a": 2, "set/b": 1, "c": 1},
    }


def test_picture_is_a_png(tmp_path: Path) -> None:
    names = ("a long name of a class that is cut", *(f"class {number}" for number in range(11)))
    picture((client("north", 12), client("south", 12, channels=3)), names, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_picture_of_images_without_findings(tmp_path: Path) -> None:
    plain = examples(4, 3).with_constant("target", torch.zeros(3, dtype=torch.uint8))
    picture((ClientData("north", "CT", plain, plain, plain),), ("a", "b", "c"), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 0


def test_picture_of_many_clients_stays_small(tmp_path: Path) -> None:
    picture(tuple(client(f"h{number}") for number in range(40)), ("a", "b", "c"), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.height < 300 * MOST_CLIENTS


def test_hospitals_without_labels(tmp_path: Path) -> None:
    plain = Subset({"image": torch.rand(8, 3, 8, 8)}, tuple("abcdefgh"))
    clients = (ClientData("north", "histology", plain, plain, plain),)
    assert describe(clients, ())[0]["labels"] == {}
    picture(clients, (), tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 0
