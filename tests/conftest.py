from __future__ import annotations

import runpy
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnifm.utils.signals import SIGNALS

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # that nohup, under which the tests may run, is not taken for a wish

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """Give the signals that ask for the end their handlers back after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a LLaVA model of random weights."""
    folder = tmp_path_factory.mktemp("llava") / "tiny"
    runpy.run_path(str(ROOT / "examples/tiny_llava.py"))["write"](folder)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data beside the repository; docs/data.md says where each is published."""
    folder = (ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets at {folder}")
    return folder
