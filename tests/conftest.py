from __future__ import annotations

import functools
import gc
import os
import runpy
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import jaxtyping
import pytest

gc.disable()  # until all is imported, which stays: to look through it for garbage again and again takes seconds

# In tests, and nowhere else, the shapes in the annotations of omnifm.spectral are checked on every call.
jaxtyping.install_import_hook("omnifm.spectral", "beartype.beartype")

from omnifm.utils.signals import SIGNALS  # noqa: E402 - only now are its shapes checked

if TYPE_CHECKING:
    import omnifm

# Property tests look at the same examples each time, so that none fails now and then. To look at new ones:
# pytest --hypothesis-profile=search
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("repeatable")

if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # that nohup, under which the tests may run, is not taken for a wish

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in tests/engines/flower."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests/engines/flower"):
            item.add_marker("flower")


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but never look for it among what was imported."""
    gc.freeze()
    gc.enable()


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], omnifm.Run]:
    """Return a function of a task's name: a tiny run of it, trained when it is first asked for."""
    from trained_runs import train

    return functools.cache(lambda task: train(task, tmp_path_factory.mktemp(task)))


@pytest.fixture(scope="session", autouse=True)
def _charts_described() -> Iterator[None]:
    """Let charts in reports be their descriptions only, but where a module asks for ``charts_drawn``."""
    from described_charts import described

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omnifm.results.charts.svg", described)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_disk() -> Iterator[None]:
    """Let no test wait for the disk: what a killed process wrote is there, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def charts_drawn() -> Iterator[None]:
    from described_charts import drawn

    with drawn():
        yield


@pytest.fixture
def restored_signals() -> Iterator[None]:
    """Give the signals that ask for the end their handlers back after the test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
