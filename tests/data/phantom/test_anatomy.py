import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from omnifm.data.phantom import anatomy as module
from omnifm.data.phantom.anatomy import Anatomy
from omnifm.utils.errors import DataError


def at(*places: tuple[float, float, float]) -> np.ndarray:
    return np.array(places, dtype=np.float32)


def test_known_places(anatomy: Anatomy) -> None:
    brain, (surface, ventricle) = anatomy.sample(at((25, -20, 35), (8, 5, 14), (0, 0, 110)))
    assert brain[1, 0] > 0.9  # centrum semiovale: white matter
    assert brain[:, 1].sum() < 0.5  # frontal horn of the lateral ventricle: fluid
    assert ventricle[1] <= 2 < ventricle[0]
    assert surface[0] < -15
    assert surface[2] > 20
    assert brain[:, 2].sum() == 0


def test_distance_grows_by_a_millimetre_a_millimetre(anatomy: Anatomy) -> None:
    _, (surface, _) = anatomy.sample(at((78, -20, 20), (88, -20, 20)))
    assert surface[1] - surface[0] == pytest.approx(10, abs=0.7)


def test_brain_fractions_are_fractions(anatomy: Anatomy) -> None:
    assert anatomy.brain.min() >= 0
    assert anatomy.brain.sum(0).max() <= 1.005
    litres = float(anatomy.brain.sum()) / 1e6
    assert 1.0 < litres < 1.8


def test_missing_atlas_names_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install nilearn"):
        module.load_anatomy(tmp_path)


def test_import_is_cheap() -> None:
    heavy = "('nilearn', 'nibabel', 'scipy')"
    script = f"import sys, omnifm.data.phantom; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
