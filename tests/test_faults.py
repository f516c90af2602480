"""Each kind of fault once, at a random point of a run: it ends with the bits of the undisturbed one, and tidily."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from faulty_run import FAULTS, Reference, can_mount, make_reference, try_fault

pytestmark = [pytest.mark.slow, pytest.mark.process]

if sys.platform != "linux":
    pytest.skip("needs fork, /proc and prlimit", allow_module_level=True)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return make_reference(tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize("kind", FAULTS)
def test_nothing_is_lost_and_nothing_left(reference: Reference, tmp_path: Path, kind: str) -> None:
    if kind == "disk full" and not can_mount():
        pytest.skip("needs the right to mount a small disk")
    try_fault(kind, reference, tmp_path / "trial", seed=kind)
