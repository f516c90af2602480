from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from omnifm.algorithms import registry
from omnifm.cli import app
from omnifm.cli.schema_command import whole_schema
from omnifm.config.schema import experiment_schema

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return whole_schema()


def mistakes(schema: dict[str, Any], document: dict[str, Any]) -> list[str]:
    found = Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_fits(schema: dict[str, Any], path: Path) -> None:
    assert mistakes(schema, tomllib.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"sed": 1}, "sed"),
        ({"training": {"epoch": 1}}, "epoch"),
        ({"arms": {"a": {"training": {"epoch": 1}}}}, "epoch"),
        ({"arms": {"a": {"arms": {}}}}, "arms"),
        ({"compare": {"tuning_seed": 1}}, "tuning_seed"),
        ({"deploy": {"deadlin": 1}}, "deadlin"),
        ({"vqa": {"compact": {"widht": 8}}}, "widht"),
        ({"data": {"sources": [{"kind": "phantom", "set": "x"}]}}, "data.sources.0"),
        ({"data": {"sources": [{"set": "octmnist"}]}}, "data.sources.0"),
        ({"data": {"sources": [{"kind": "medmnist"}]}}, "data.sources.0"),
        ({"seed": "1"}, "seed"),
        ({"seed": -1}, "seed"),
        ({"task": "clasification"}, "task"),
        ({"name": 3}, "name"),
        ({"federation": {"evaluate": ["received"]}}, "federation.evaluate.0"),
        ({"federation": {"evaluate": []}}, "federation.evaluate"),
        ({"federation": {"personal": "head"}}, "federation.personal"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate"),
        ({"classification": {"width": 12}}, "classification.width"),
        ({"fedprox": {"mu": -1.0}}, "fedprox.mu"),
        ({"aggregation": {"rule": "median", "trim": 0.1}}, "aggregation"),
        ({"aggregation": {"rule": "medain"}}, "aggregation"),
        ({"callbacks": [{"kind": "tensorboard", "client": True}]}, "callbacks.0"),
        ({"callbacks": [{"clients": True}]}, "callbacks.0"),
    ],
    ids=str,
)
def test_a_mistake_does_not(schema: dict[str, Any], document: dict[str, Any], place: str) -> None:
    (told,) = mistakes(schema, document)
    assert place in told


def test_it_says_what_the_docstrings_say(schema: dict[str, Any]) -> None:
    training = schema["$defs"]["TrainingSettings"]
    assert training["description"].startswith("How a client trains: `[training]` of an experiment.")
    assert training["properties"]["epochs"]["description"] == "local epochs in a round."
    phantom = schema["$defs"]["PhantomSource"]["properties"]  # what its base class says of its fields
    assert phantom["patients"]["description"] == "how many patients each hospital has."
    masked = schema["$defs"]["MaskedFolderSource"]["properties"]  # in sentences
    assert masked["tile"]["description"].endswith("an example of the same patient; 0 leaves them whole.")
    assert masked["limit"]["description"] == "`limit` takes at most that many images, evenly spaced (0: all)."
    assert masked["folder"]["description"] == "The folder below `data.root`."


def test_rules_and_callbacks_have_their_own_keys(schema: dict[str, Any]) -> None:
    document = {"aggregation": {"rule": "trimmed-mean", "trim": 0.2}, "callbacks": [{"kind": "mlflow", "uri": "x"}]}
    assert mistakes(schema, document) == []
    assert mistakes(schema, {"aggregation": {}}) == []


def places(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every key with what the schema says of it."""
    rules = schema["properties"]["aggregation"]["oneOf"]
    for table in (schema, *schema["$defs"].values(), *rules, *schema["properties"]["callbacks"]["items"]["oneOf"]):
        yield from ((f"{table['title']}.{name}", place) for name, place in table["properties"].items())


def test_every_key_has_a_meaning(schema: dict[str, Any]) -> None:
    assert [name for name, place in places(schema) if not place.get("description") and "$ref" not in place] == []


def test_an_algorithm_of_ones_own_has_a_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ALGORITHM_SETTINGS, "mine", registry.ALGORITHM_SETTINGS["fedprox"])
    made = experiment_schema({}, {})
    assert mistakes(made, {"algorithm": "mine", "mine": {"mu": 1.0}}) == []
    assert len(mistakes(made, {"mine": {"nu": 1.0}})) == 1


def test_the_command_prints_and_writes_it(schema: dict[str, Any], tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["schema"])
    assert json.loads(printed.stdout) == schema
    file = tmp_path / "experiment.schema.json"
    written = CliRunner().invoke(app, ["schema", "--out", str(file)])
    assert written.exit_code == 0
    assert file.read_text(encoding="utf-8") == printed.stdout
