from collections import Counter
from pathlib import Path

import pytest
import torch

from omnifm.data.phantom.anatomy import Anatomy
from omnifm.data.phantom.dataset import PhantomSource
from omnifm.data.source import Loading

SMALL = PhantomSource(modalities=("T2", "CT"), classes=("healthy", "haemorrhage", "ms"), patients=6, hospitals=2)


def loading(cache: Path, **changes: int) -> Loading:
    settings = {"size": 32, "channels": 1, "seed": 1, **changes}
    return Loading(root=cache, cache=cache, **settings)


def test_shapes_and_names(anatomy: Anatomy, cache: Path) -> None:
    table = SMALL.load(loading(cache))
    assert len(table) == 24
    assert {name: tuple(values.shape) for name, values in table.fields.items()} == {
        "image": (24, 1, 32, 32),
        "label": (24,),
        "tissue": (24, 32, 32),
        "lesion": (24, 32, 32),
    }
    assert [table.fields[name].dtype for name in ("image", "label", "tissue", "lesion")] == [
        torch.float32,
        torch.int64,
        torch.uint8,
        torch.uint8,
    ]
    assert 0 <= table.fields["image"].min() < table.fields["image"].max() <= 1
    assert table.label_names == ("healthy", "haemorrhage", "ms")
    assert table.institutions[::6] == ("T2-1", "T2-2", "CT-1", "CT-2")
    assert table.modalities[::12] == ("T2", "CT")
    assert table.patients[7] == "T2-2/p0001"
    assert len(set(table.patients)) == 24
    assert table.split is None


def test_classes_are_balanced_at_every_hospital(anatomy: Anatomy, cache: Path) -> None:
    table = SMALL.load(loading(cache))
    counts = Counter(zip(table.institutions, table.fields["label"].tolist(), strict=True))
    assert set(counts.values()) == {2}
    healthy = table.fields["label"] == 0
    assert not table.fields["lesion"][healthy].any()


def test_cache_equals_fresh(anatomy: Anatomy, cache: Path, tmp_path: Path) -> None:
    first = SMALL.load(loading(tmp_path))
    stored = SMALL.load(loading(tmp_path))
    other_place = SMALL.load(loading(cache))
    for name, values in first.fields.items():
        assert torch.equal(values, stored.fields[name])
        assert torch.equal(values, other_place.fields[name])


@pytest.mark.parametrize("processes", [1, 3])
def test_the_number_of_processes_changes_no_bit(
    anatomy: Anatomy, cache: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr("omnifm.data.phantom.hospitals.auto_workers", lambda: processes)
    made, known = SMALL.make(loading(cache)), SMALL.load(loading(cache)).fields
    assert all(torch.equal(made[name], values) for name, values in known.items())


def test_damaged_cache_is_made_again(anatomy: Anatomy, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = PhantomSource(modalities=("T1",), patients=2)
    first = source.load(loading(tmp_path))
    (stored,) = [path for path in tmp_path.glob("phantom-*.safetensors") if "anatomy" not in path.name]
    part = stored.read_bytes()[:1000]
    stored.unlink()  # the first pool is this file
    stored.write_bytes(part)
    again = source.load(loading(tmp_path))
    assert torch.equal(first.fields["image"], again.fields["image"])
    assert "making it again" in caplog.text


def test_patients_do_not_depend_on_how_many_there_are(anatomy: Anatomy, cache: Path) -> None:
    few, more = (PhantomSource(modalities=("PET",), patients=n).load(loading(cache)) for n in (3, 8))
    for name, values in few.fields.items():
        assert torch.equal(values, more.fields[name][:3])
    assert few.patients == more.patients[:3]


def test_seeds_and_hospitals_differ(anatomy: Anatomy, cache: Path) -> None:
    source = PhantomSource(modalities=("T1",), patients=1, hospitals=2)
    one, two = (source.load(loading(cache, seed=seed)).fields["image"] for seed in (1, 2))
    assert not torch.equal(one, two)
    assert not torch.equal(one[0], one[1])


def test_slices_share_patient_and_label(anatomy: Anatomy, cache: Path) -> None:
    table = PhantomSource(modalities=("T1",), patients=4, slices=3).load(loading(cache))
    assert table.patients[:4] == ("T1-1/p0000",) * 3 + ("T1-1/p0001",)
    labels = table.fields["label"].reshape(4, 3)
    assert (labels == labels[:, :1]).all()
    assert not torch.equal(table.fields["tissue"][0], table.fields["tissue"][1])


def test_grey_is_repeated_over_the_channels(anatomy: Anatomy, cache: Path) -> None:
    source = PhantomSource(modalities=("T1",), patients=2)
    grey = source.load(loading(cache)).fields["image"]
    colour = source.load(loading(cache, channels=3)).fields["image"]
    assert torch.equal(colour, grey.repeat(1, 3, 1, 1))
    assert colour.stride(1) == 0  # and takes no more memory


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"modalities\.1\n.*unknown name 'flare'. Did you mean 'FLAIR'\?"):
        PhantomSource(modalities=("T1", "flare"))
    with pytest.raises(ValueError, match=r"classes\.0\n.*unknown name 'tumour'. Known: .*healthy"):
        PhantomSource(classes=("tumour",))
    with pytest.raises(ValueError, match=r"modalities\n.*at least 1 item"):
        PhantomSource(modalities=())
    with pytest.raises(ValueError, match="twice"):
        PhantomSource(classes=("ms", "ms"))
    for name in ("patients", "hospitals", "slices"):
        with pytest.raises(ValueError, match=f"{name}\n.*greater than or equal to 1"):
            PhantomSource(**{name: 0})
