"""A commented experiment to begin with: it runs as it is, and shows where to go on."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import tomli_w

from omnifm.algorithms import registry as algorithms
from omnifm.config.catalogue import first_sentence
from omnifm.config.schema import experiment_schema
from omnifm.data.sources import SOURCES
from omnifm.tasks.registry import TASKS
from omnifm.utils.errors import ExperimentError, did_you_mean
from omnifm.utils.registration import load_plugins

_WIDTH = 110

_TEXT = """\
# {about_task}
# Runs as it is, in a few minutes, on the synthetic phantom:
#
#     omnifm run {file}
#
# docs/experiment.md has every key. What stands behind a # is the default: take the # away to change it.
name = {name}
task = {task}
seed = 0

[data]
root = "data"          # the folder that your images are in
size = 48              # each is resized to a square of so many pixels

# Simulated hospitals, one for each modality. For your own images, put sources like the ones below in its place, or let
# `omnifm data init FOLDER` look at a folder and write such an experiment.
[[data.sources]]
kind = {phantom}
patients = 40          # of each hospital

{own}
[partition]
kind = "modality"      # a hospital for each modality; "institution": as the sources say; "iid", "dirichlet", "quantity"
{partition}

[federation]
rounds = 10            # how often the hospitals train and the server averages
evaluate_every = 2     # after so many rounds all are evaluated on validation data
{federation}

[training]
epochs = 1             # local epochs a round
batch_size = 16
optimizer = {optimizer}
learning_rate = {rate}
{training}

# The arms: each is this experiment with some keys changed, on the same data.
{arms}
{sections}
"""

_ALONE = """\
[arms.local]           # every hospital alone: what does it gain by joining?
algorithm = "local"
"""


def starter_text(task: str, algorithm: str, file: Path) -> str:
    """Return the text of an experiment file for a task and an algorithm; ``file`` is where it will be.

    Raises:
        ExperimentError: there is no such task or algorithm; suggests the nearest.
    """
    load_plugins()
    for what, name, known in (("task", task, TASKS), ("algorithm", algorithm, algorithms.ALGORITHM_SETTINGS)):
        if name not in known:
            raise ExperimentError(f"There is no {what} {name!r}. {did_you_mean(name, known)}")
    schema = experiment_schema({}, {})
    made: Any = TASKS[task].make  # its class
    sources: tuple[str, ...] = made.sources
    sections = [
        f"\n[{name}]{_spaced(what)}\n{_defaults(schema, name)}"
        for name, what in ((task, "the task"), (algorithm, "the algorithm"))
        if _keys(schema, name)
    ]
    return _TEXT.format(
        about_task=first_sentence(made),
        file=shlex.quote(str(file)),
        name=_value(file.stem),
        task=_value(task),
        phantom=_value(sources[0]),
        own="\n".join(_source(name) for name in sources if name in SOURCES and not name.startswith("phantom")),
        partition=_defaults(schema, "partition", "kind"),
        federation=_defaults(schema, "federation", "rounds", "evaluate_every"),
        training=_defaults(schema, "training", "epochs", "batch_size", "optimizer", "learning_rate"),
        optimizer=_value(made.optimizer),
        rate=made.learning_rate,
        arms=_ALONE if algorithm == "local" else f"{_ALONE}\n{_arm(algorithm)}",
        sections="\n".join(sections),
    )


def _arm(algorithm: str) -> str:
    what = first_sentence(algorithms.ALGORITHM_SETTINGS[algorithm])
    return f"[arms.{_value(algorithm)}]  # {what}\nalgorithm = {_value(algorithm)}\n"


def _source(name: str) -> str:
    """Return a source as a comment: the keys that it must be given."""
    kind = SOURCES[name]
    needed = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    lines = [f"# {first_sentence(kind)}", "# [[data.sources]]", f"# kind = {_value(name)}"]
    return "\n".join([*lines, *(f'# {key} = "..."' for key in needed if key != "kind"), ""])


def _keys(schema: dict[str, Any], section: str) -> dict[str, Any]:
    """Return the keys of a section, each with its default and what is known of it."""
    place = schema["properties"].get(section, {})
    while "$ref" in place:
        place = schema["$defs"][place["$ref"].rpartition("/")[2]]
    return dict(place.get("properties", {}))


def _defaults(schema: dict[str, Any], section: str, *but: str) -> str:
    """Return the keys of a section as comments, with their defaults."""
    lines = []
    for key, known in _keys(schema, section).items():
        if key in but or "default" not in known or known["default"] is None or isinstance(known["default"], dict):
            continue
        line = f"# {key} = {_value(known['default'])}"
        what = " ".join(known.get("description", "").replace("`", "").split())
        what = re.sub(rf"^{key}( = \S+)? (is |are )?", "", what)  # the key itself stands before it
        lines.append(line + (_spaced(what, len(line)) if what and len(what) < _WIDTH - 30 else ""))
    return "\n".join(lines)


def _spaced(text: str, used: int = 0) -> str:
    return f"{' ' * max(2, 32 - used)}# {text}" if used else f"  # {text}"


def _value(value: Any) -> str:
    """Return a value as TOML in one line."""
    text = tomli_w.dumps({"x": value}).removeprefix("x = ").strip()
    return " ".join(text.split()).replace("[ ", "[").replace(", ]", "]")
