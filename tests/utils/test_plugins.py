"""What packages name as entry points is known to experiments, once, and a broken package is named in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plugin import ENTRIES, EVENTS, MODULE, installed, write_plugin
from small_run import hashes, omnifm, write_experiment

from omnifm.algorithms.registry import ALGORITHM_SETTINGS
from omnifm.callbacks.registry import make_callbacks
from omnifm.config.experiment import make_experiment
from omnifm.config.schema import experiment_schema
from omnifm.data.sources import register_source
from omnifm.engines.flower.client_config import read_client_config
from omnifm.tasks.registry import register_task
from omnifm.utils.errors import ExperimentError
from omnifm.utils.registration import load_plugins


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[None]:
    with installed(write_plugin(tmp_path / "plugin")):
        yield


@pytest.mark.usefixtures("plugin")
def test_all_five_groups_are_known_when_an_experiment_is_read() -> None:
    made = make_experiment(
        {
            "task": "coarse",
            "algorithm": "fairest",
            "fairest": {"q": 2.0},
            "coarse": {"width": 8},
            "aggregation": {"rule": "largest"},
            "data": {"sources": [{"kind": "stripes", "images": 8}]},
        }
    )
    assert (made.sections["fairest"].q, made.sections["coarse"].width, made.aggregation["rule"]) == (2.0, 8, "largest")
    assert (made.data.sources[0].kind, made.data.sources[0].images) == ("stripes", 8)  # type: ignore[attr-defined]
    assert type(make_callbacks({"callbacks": [{"kind": "every-event"}]})[0]).__name__ == "Diary"
    load_plugins.cache_clear()
    load_plugins()
    assert "any-name" not in ALGORITHM_SETTINGS, "a module's decorators name what it holds"


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"algorithm": "fairst"}, "algorithm: unknown name 'fairst'. Did you mean 'fairest'?"),
        (
            {"data": {"sources": [{"kind": "stripe"}]}},
            "data.sources.0: there is no kind 'stripe'. Did you mean 'stripes'?",
        ),
        (
            {"data": {"sources": [{"kind": "stripes", "image": 1}]}},
            "Unknown key 'data.sources.0.image'. Did you",
        ),
        ({"data": {"sources": [{"kind": "stripes", "images": "1"}]}}, "data.sources.0.images: must be a valid"),
        ({"coarse": {"widht": 8}}, "Unknown key 'coarse.widht'. Did you mean 'width'?"),
    ],
)
def test_what_does_not_fit_is_named(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        make_experiment(document)
    assert str(caught.value).startswith(words)


@pytest.mark.usefixtures("plugin")
def test_the_schema_and_a_clients_file_know_them(tmp_path: Path) -> None:
    schema = experiment_schema({}, {})
    assert {"fairest", "coarse"} <= schema["properties"].keys()
    assert schema["$defs"]["Stripes"]["properties"]["kind"]["const"] == "stripes"
    load_plugins.cache_clear()
    file = tmp_path / "client.toml"
    file.write_text(
        'name = "a"\n[data]\nsources = [{kind = "stripes"}]\n[policy]\ntasks = ["coarse"]\nalgorithms = ["fairest"]\n'
    )
    assert read_client_config(file).policy.algorithms == ("fairest",)


@pytest.mark.parametrize(
    ("module", "entries", "words"),
    [
        ("import no_such_thing", ENTRIES, "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("", "[omnifm.algorithms]\nfairest = omnifm_example_plugin:Fair", "AttributeError: .* no attribute 'Fair'"),
        (MODULE, "[omnifm.algorithms]\nfedavg = omnifm_example_plugin:Fair", "Algorithm 'fedavg' exists already"),
        ("class Fair: pass", "[omnifm.algorithms]\nf = omnifm_example_plugin:Fair", "Fair must be a dataclass"),
        (
            "class Own: pass",
            "[omnifm.tasks]\nown = omnifm_example_plugin:Own",
            "name the settings of Own: @register_task",
        ),
    ],
)
def test_a_broken_package_is_one_sentence(tmp_path: Path, module: str, entries: str, words: str) -> None:
    with installed(write_plugin(tmp_path, module, entries)):
        for _ in range(2):  # it stays broken
            with pytest.raises(
                ExperimentError, match=rf"entry point .* of omnifm\..*'omnifm-example'.*{words}"
            ) as caught:
                make_experiment({})
            assert "\n" not in str(caught.value)
        told = omnifm("run", write_experiment(tmp_path), "--out", tmp_path / "out")
    assert told.status == 1
    assert "Traceback" not in told.text


def test_a_source_says_its_kind_and_a_task_its_settings() -> None:
    with pytest.raises(ValueError, match='Odd needs the field  kind: Literal\\["even"\\] = "even"'):
        register_source("even")(type("Odd", (), {"kind": "odd"}))
    with pytest.raises(ValueError, match="int must be a dataclass"):
        register_task("even", int)(type("Even", (), {}))


@pytest.mark.slow
@pytest.mark.usefixtures("plugin")
def test_an_own_task_on_own_data_with_an_own_callback_runs(tmp_path: Path) -> None:
    sources = [{"kind": "stripes", "modality": name} for name in ("CT", "MRI")]
    own: dict[str, Any] = {
        "task": "coarse",
        "coarse": {"width": 8},
        "data": {"size": 16, "sources": sources},
        "federation": {"rounds": 1, "evaluate_every": 1},
        "callbacks": [{"kind": "every-event", "file": str(tmp_path / "diary")}],
    }
    path = write_experiment(tmp_path, "fairest", **own)
    outcome = omnifm("run", path, "--out", tmp_path / "run", "--workers", 1)
    assert outcome.status == 0, outcome.text
    assert hashes(tmp_path / "run").keys() == {"fairest"}
    assert set((tmp_path / "diary").read_text().split()) == EVENTS


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("plugin")
def test_a_comparison_tells_an_own_callback_too(tmp_path: Path) -> None:
    diary = [{"kind": "every-event", "file": str(tmp_path / "diary")}]
    path = write_experiment(tmp_path, arms={}, federation={"rounds": 1, "evaluate_every": 1}, callbacks=diary)
    asked = ("--algorithms", "fedavg,fairest", "--seeds", 2, "--workers", 1)
    outcome = omnifm("compare", path, *asked, "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.text
    assert set((tmp_path / "diary").read_text().split()) == EVENTS
