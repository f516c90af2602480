from __future__ import annotations

import importlib

import pytest

from omnifm.runs.backend import BACKENDS, LocalBackend, make_backend
from omnifm.utils.errors import ExperimentError


def test_a_backend_is_made_from_its_name() -> None:
    assert isinstance(make_backend("in-process", 1), LocalBackend)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_name_leads_to_a_class(name: str) -> None:
    pytest.importorskip("flwr", reason="needs Flower: pip install 'omnifm[flower]'")
    module, _, kind = BACKENDS[name].partition(":")
    assert isinstance(getattr(importlib.import_module(module), kind), type)


def test_an_unknown_name_is_reported() -> None:
    with pytest.raises(ExperimentError, match=r"there is no 'in-proces'. Did you mean 'in-process'?"):
        make_backend("in-proces", 1)
