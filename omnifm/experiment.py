"""All that a run depends on, as frozen dataclasses read from a TOML file; errors name the key.

An experiment file may have ``[arms.NAME]`` tables: each arm is the experiment with those keys changed, and all arms
run on the same data. A file without arms has one, called by its algorithm. ``[compare]`` is for ``omnifm compare``,
``[deploy]`` for a run over the network: what of it changes, changes no result.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import tomli_w
import torch
from pydantic import ConfigDict, Field, TypeAdapter

from omnifm.algorithms import registry as algorithms
from omnifm.algorithms.aggregation.registry import AGGREGATORS
from omnifm.checkpoint.kept_weights import SCRATCH, KeptWeights
from omnifm.data.federated_dataset import DataSettings
from omnifm.data.partition import PartitionSettings
from omnifm.privacy.settings import PrivacySettings
from omnifm.spectral.adapter import AdapterSettings
from omnifm.spectral.bank import BankSettings
from omnifm.tasks import registry as tasks
from omnifm.training.settings import TrainingSettings
from omnifm.utils.errors import ExperimentError, OmniFMError, did_you_mean

Document = dict[str, Any]

EvaluationPoint = Literal["before_local_training", "after_local_training"]
"""Which model of a client is judged: *as received* (the shared weights under the client's own personal ones), or
*personalised* (after the algorithm's local epochs from there)."""

EVALUATION_POINTS: tuple[EvaluationPoint, ...] = ("before_local_training", "after_local_training")


@dataclass(frozen=True)
class FederationSettings:
    """``[federation]``: the rounds.

    ``participation`` is the fraction of clients sampled a round (at least one); ``evaluate_every`` after how many
    rounds all clients are judged on validation data; ``points`` at which evaluation points they are, in validation and test;
    ``patience`` in how many evaluations in a row no score may improve before the rounds end early (0: never);
    ``personal`` the parts of the network that stay at the clients.
    """

    rounds: Annotated[int, Field(ge=1)] = 25
    participation: Annotated[float, Field(gt=0, le=1)] = 1.0
    evaluate_every: Annotated[int, Field(ge=1)] = 5
    points: Annotated[tuple[EvaluationPoint, ...], Field(min_length=1)] = EVALUATION_POINTS
    patience: Annotated[int, Field(ge=0)] = 0
    personal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "evaluate", tuple(point for point in EVALUATION_POINTS if point in self.points))


@dataclass(frozen=True)
class Experiment:
    """One arm, complete.

    ``sections`` holds the settings of every task and algorithm by name, ``aggregation`` the ``rule`` by which uploads
    are averaged and that rule's own settings.

    ``device`` is torch's name of where the clients compute: ``cpu`` (several workers), ``cuda`` (one). ``init`` says
    what all start from: weights drawn from the seed (``scratch``), or a file of them, by path or hub id.
    """

    name: str = "experiment"
    seed: Annotated[int, Field(ge=0)] = 0
    task: str = tasks.DEFAULT
    algorithm: str = "omnifm"
    device: str = "cpu"
    init: Annotated[str, Field(min_length=1)] = SCRATCH
    data: DataSettings = field(default_factory=DataSettings)
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    federation: FederationSettings = field(default_factory=FederationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    bank: BankSettings = field(default_factory=BankSettings)
    aggregation: dict[str, Any] = field(default_factory=lambda: {"rule": "mean"})
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    sections: dict[str, Any] = field(default_factory=dict)

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


_PLAIN = tuple(f.name for f in dataclasses.fields(Experiment) if f.name != "sections")


@dataclass(frozen=True)
class Plan:
    """An experiment file, read: its document with ``--set`` applied, and its arms by name.

    ``weights`` are the copies beside the file, if it is that of a run: what it started from, it starts from again.
    """

    document: Document
    arms: dict[str, Experiment]
    weights: KeptWeights | None = None

    @property
    def name(self) -> str:
        """The experiment's name."""
        return next(iter(self.arms.values())).name


def read_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Read an experiment file and apply ``key=value`` overrides to it.

    Raises:
        ExperimentError: the file cannot be read, or a key or value of it does not fit; names the key.
    """
    document = read_toml(path, "experiment file", ExperimentError)
    document.setdefault("name", path.stem)
    for override in overrides:
        _apply_override(document, override)
    return dataclasses.replace(make_plan(document), weights=KeptWeights(path.parent / "init"))


def make_plan(document: Document) -> Plan:
    """Turn a document into a plan; every arm is checked before any runs."""
    base = base_of(document)
    arms = document.get("arms") or {}
    if not isinstance(arms, dict) or not all(isinstance(arm, dict) for arm in arms.values()):
        raise ExperimentError("arms: give a table for each arm, as [arms.NAME].")
    if not arms:
        experiment = make_experiment(base)
        return Plan(document, {experiment.algorithm: experiment})
    made = {}
    for name, changes in arms.items():
        if not name or name.startswith(".") or "/" in name:
            raise ExperimentError(f"arms.{name}: an arm's name is a folder's too; use letters, digits, '-' and '_'.")
        try:
            made[name] = make_experiment(merged(base, changes))
        except ExperimentError as error:
            raise ExperimentError(f"In arm {name!r}: {error}") from None
    return Plan(document, made)


def base_of(document: Document) -> Document:
    """Return the part of a document that every arm starts from."""
    return {key: value for key, value in document.items() if key not in ("arms", "compare", "deploy")}


def make_experiment(document: Mapping[str, Any]) -> Experiment:
    """Check one arm's document and fill in the defaults."""
    known = {**tasks.SETTINGS, **algorithms.SETTINGS}  # now, and not on import: users register their own
    for key in document:
        if key not in _PLAIN and key not in known:
            raise ExperimentError(f"Unknown key {key!r}. {did_you_mean(key, (*_PLAIN, *known))}")
    plain: Experiment = checked(Experiment, {k: v for k, v in document.items() if k in _PLAIN}, ())
    _check_device(plain.device)
    for key, names in (("task", tasks.SETTINGS), ("algorithm", algorithms.SETTINGS)):
        if (value := getattr(plain, key)) not in names:
            raise ExperimentError(f"Unknown {key} {value!r}. {did_you_mean(value, names)}")
    sections = {name: checked(kind, document.get(name, {}), (name,)) for name, kind in known.items()}
    return dataclasses.replace(plain, aggregation=_aggregation(plain.aggregation), sections=sections)


def _aggregation(given: Document) -> Document:
    """Check ``[aggregation]``, whose keys depend on its rule, and fill in the defaults."""
    rule = given.get("rule", "mean")
    if not isinstance(rule, str) or rule not in AGGREGATORS:
        raise ExperimentError(f"Unknown aggregation.rule {rule!r}. {did_you_mean(str(rule), AGGREGATORS)}")
    own = {key: value for key, value in given.items() if key != "rule"}
    return {"rule": rule, **_plain(dataclasses.asdict(checked(AGGREGATORS[rule], own, ("aggregation",))))}


def to_document(experiment: Experiment) -> Document:
    """Return the experiment as a document with every default written out; only the sections that it uses."""
    plain = _plain(dataclasses.asdict(experiment))
    sections = plain.pop("sections")
    used = {
        experiment.task,
        experiment.algorithm,
        getattr(experiment.sections[experiment.algorithm], "base", None),
    }
    return {**plain, **{name: values for name, values in sections.items() if name in used and values}}


def to_toml(document: Document) -> str:
    """Return a document as TOML text."""
    return tomli_w.dumps(document)


def differences(old: Document, new: Document, prefix: str = "") -> list[str]:
    """Name the keys in which two documents differ, each with both values."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {_brief(a)} then, {_brief(b)} now")
    return found


def _brief(value: Any) -> str:
    return "not there" if value is None else "there" if isinstance(value, dict) else repr(value)


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ExperimentError(f"device = {name!r} cannot be used on this machine: {reason}. Use 'cpu'.") from None


def merged(base: Document, changes: Mapping[str, Any]) -> Document:
    """Return a document with changes, table by table."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def _apply_override(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ExperimentError(f"--set {override!r}: write it as key=value, for example --set federation.rounds=10.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *path, last = key.strip().split(".")
    place: Any = document
    for step in path:
        place = _step(place, step, override)
    if isinstance(place, list):
        _step(place, last, override)
        place[int(last)] = value
    else:
        place[last] = value


def _step(place: Any, step: str, override: str) -> Any:
    if isinstance(place, list):
        if step.isdigit() and int(step) < len(place):
            return place[int(step)]
        raise ExperimentError(
            f"--set {override!r}: {step!r} is no place in a list of {len(place)} (they count from 0)."
        )
    inner = place.setdefault(step, {})
    if not isinstance(inner, dict | list):
        raise ExperimentError(f"--set {override!r}: {step!r} is a value and has no keys below it.")
    return inner


def read_toml(path: Path, what: str, failure: type[OmniFMError], remedy: str = "") -> Document:
    """Read a TOML file, for people ``what``; where there is none, ``remedy`` says what to do.

    Raises:
        failure: the file is missing, cannot be read or is not valid TOML; names it.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise failure(f"There is no {what} {path}{remedy and f': {remedy}'}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise failure(f"The {what} {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise failure(f"{path} is not valid TOML: {error}.") from None


def checked(kind: type, values: Any, prefix: tuple[str, ...]) -> Any:
    """Validate values against a dataclass, strictly; lists count as tuples.

    Raises:
        ExperimentError: a key or value does not fit; names it, behind ``prefix``.
    """
    try:
        return _validator(kind).validate_json(json.dumps(values, default=str))
    except TypeError as error:
        raise ExperimentError(f"{'.'.join(prefix) or 'The experiment'}: {error}.") from None
    except pydantic.ValidationError as error:
        raise ExperimentError("\n".join(_message(kind, e, prefix) for e in error.errors())) from None


@lru_cache
def _validator(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(pydantic.with_config(Experiment.__pydantic_config__)(kind))


def _message(kind: type, error: Any, prefix: tuple[str, ...]) -> str:
    place = [*prefix, *(str(step) for step in error["loc"])]
    key = ".".join(place)
    if error["type"] == "unexpected_keyword_argument":
        return f"Unknown key {key!r}. {did_you_mean(place[-1], _keys_at(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{key}: this key is required."
    text = error["msg"].removeprefix("Value error, ").rstrip(".")
    end = "" if text.endswith("?") else "."
    given = error.get("input")
    shown = "" if isinstance(given, dict | list) or error["type"] == "value_error" else f" (given: {given!r})"
    said = f"{key}: {text[0].lower()}{text[1:]}" if key else f"{text[0].upper()}{text[1:]}"
    return f"{said}{shown}{end}"


def _keys_at(kind: Any, path: Sequence[Any]) -> list[str]:
    """Return the keys that the dataclass at ``path`` below ``kind`` accepts."""
    for step in path:
        inner = typing.get_type_hints(kind).get(step) if dataclasses.is_dataclass(kind) else None
        kind = inner if inner is not None else _member(kind, step)
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _member(kind: Any, step: Any) -> Any:
    """Step into a list by index, or into a union by the ``kind`` of its member."""
    arguments = typing.get_args(kind)
    if isinstance(step, int):
        return arguments[0]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next((a for a in arguments if getattr(a, "kind", None) == step), kind)
    return kind


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
