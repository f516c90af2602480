import logging
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnifm.data.phantom import storage
from omnifm.data.phantom.storage import cached

NAMES = frozenset({"a"})


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"a": torch.arange(5)}


def test_made_once(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(3):
        assert torch.equal(cached(tmp_path / "deep" / "a.safetensors", NAMES, make)["a"], torch.arange(5))
    assert make.calls == 1
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_what_is_cached_is_the_file_itself_and_not_changed_by_its_readers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    made = cached(path, NAMES, Maker())  # at once after it was made, as well as later
    if sys.platform == "linux":
        assert str(path) in Path("/proc/self/maps").read_text(encoding="utf-8")
    made["a"][0] = 7
    assert torch.equal(cached(path, NAMES, Maker())["a"], torch.arange(5))


def test_every_type_and_shape_comes_back(tmp_path: Path) -> None:
    made = {
        "mask": torch.randint(255, (3, 5), dtype=torch.uint8),
        "image": torch.rand(3, 1, 5, 5),
        "label": torch.arange(3),
        "turned": torch.rand(4, 3).T,
    }
    cached(tmp_path / "a.safetensors", frozenset(made), lambda: made)
    stored = load_file(tmp_path / "a.safetensors")
    assert {name: value.tolist() for name, value in stored.items()} == {n: v.tolist() for n, v in made.items()}
    assert all(stored[name].dtype == value.dtype for name, value in made.items())


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_damage_is_repaired(tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.safetensors"
    make = Maker()
    cached(path, NAMES, make)
    content = path.read_bytes()[:-3] if content is None else content
    path.unlink()
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cached(path, NAMES, make)["a"], torch.arange(5))
    assert "cannot be read" in caplog.text
    cached(path, NAMES, make)
    assert make.calls == 2


def test_other_content_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make = Maker()
    cached(tmp_path / "a.safetensors", frozenset({"b"}), make)
    with caplog.at_level(logging.WARNING):
        cached(tmp_path / "a.safetensors", NAMES, make)
        cached(tmp_path / "a.safetensors", frozenset({"b"}), make)
    assert "holds other tensors" in caplog.text


def test_full_disk_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cached(tmp_path / "a.safetensors", NAMES, Maker())["a"], torch.arange(5))
    assert "No space left" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["other values", "no digest"])
def test_what_is_not_what_was_stored_is_made_again(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The file is whole, of the right names and shapes: only the digest tells."""
    path, make = tmp_path / "a.safetensors", Maker()
    cached(path, NAMES, make)
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    path.unlink()  # the file itself is what those before were given
    save_file({"a": torch.arange(5).flip(0)}, path, about if kind == "other values" else None)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cached(path, NAMES, make)["a"], torch.arange(5))
    assert f"cache {path} has another SHA-256 than it says, or says none; making it again" in caplog.text
    assert torch.equal(cached(path, NAMES, make)["a"], torch.arange(5))
    assert make.calls == 2


def test_the_digest_of_a_file_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, make = tmp_path / "a.safetensors", Maker()
    cached(path, NAMES, make)
    monkeypatch.setattr(storage, "digest", None)
    cached(path, NAMES, make)
    assert make.calls == 1
