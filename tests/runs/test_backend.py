from __future__ import annotations

import importlib

import pytest
from helpers import made_dataset, small_experiment

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


def test_where_nobody_can_find_out_who_is_alike_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    backend = LocalBackend(dataset=made_dataset())
    for fewest, lines in ((99, 1), (4, 0)):
        caplog.clear()
        for seed in (0, 1):
            backend.arm(small_experiment("omnifm", bank={"min_cluster": fewest}, omnifm={}, seed=seed), None)
        assert len([one for one in caplog.messages if "no client has bank.min_cluster = 99" in one]) == lines
