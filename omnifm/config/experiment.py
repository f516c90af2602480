"""All that a run depends on, as frozen dataclasses read from a TOML file; errors name the key.

An experiment file may have ``[arms.NAME]`` tables: each arm is the experiment with those keys changed, and all arms
run on the same data. A file without arms has one, called by its algorithm. ``[compare]`` is for ``omnifm compare``,
``[deploy]`` for a run over the network, ``[[callbacks]]`` name who is notified of its progress: they change no result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from omnifm.algorithms import registry as algorithms
from omnifm.algorithms.aggregation.registry import AGGREGATORS
from omnifm.checkpoint.kept_weights import SCRATCH, KeptWeights
from omnifm.config.checking import checked
from omnifm.config.deprecated import upgraded
from omnifm.config.overrides import apply_override, merged, set_key
from omnifm.config.toml import Document, read_toml, to_toml
from omnifm.core.evaluation import EVALUATION_POINTS, EvaluationPoint
from omnifm.data.federated_dataset import PLACES, DataSettings
from omnifm.data.partition import PartitionSettings
from omnifm.privacy.settings import PrivacySettings
from omnifm.spectral.adapter import AdapterSettings
from omnifm.spectral.bank import BankSettings
from omnifm.tasks import registry as tasks
from omnifm.training.settings import TrainingSettings
from omnifm.utils.errors import ExperimentError, did_you_mean
from omnifm.utils.registration import load_plugins
from omnifm.utils.settings import Count, CountOrZero, NotNegative, OneOf, Text, settings

Changes = Sequence[str] | Mapping[str, Any]
"""What is changed in an experiment: texts ``key=value``, or values by dotted key."""

UNRELATED = ("callbacks", "compare", "deploy")
"""The tables of an experiment file that affect no result: they can change when a run is resumed."""


@settings
class FederationSettings:
    """The rounds, and who takes part in them: ``[federation]`` of an experiment.

    Attributes:
        rounds: the number of rounds.
        participation: the fraction of clients that is sampled in a round (at least one client).
        evaluate_every: after how many rounds all clients are evaluated on validation data.
        evaluate: at which points of a round they are evaluated, in validation and test.
        patience: in how many evaluations in a row no score may improve before the rounds end early; 0: never.
        personal: the parts of the network that stay at the clients.
        acceptance: whether each client starts from what its validation data prefer: what it received, its own last
            weights or the mean of both; ``auto`` leaves it to the algorithm.
        acceptance_every: after how many rounds a client makes this comparison again.
    """

    rounds: Count = 25
    participation: Annotated[float, Field(gt=0, le=1)] = 1.0
    evaluate_every: Count = 5
    evaluate: Annotated[tuple[EvaluationPoint, ...], Field(min_length=1)] = EVALUATION_POINTS
    patience: CountOrZero = 0
    personal: tuple[str, ...] = ()
    acceptance: Literal["auto", "on", "off"] = "auto"
    acceptance_every: Count = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "evaluate", tuple(point for point in EVALUATION_POINTS if point in self.evaluate))

    @property
    def rounds_evaluated(self) -> int:
        """How many rounds are followed by an evaluation on validation data, if none ends the run early."""
        return -(-self.rounds // self.evaluate_every)


@settings
class ChecksSettings:
    """Bounds on every upload: ``[checks]`` of an experiment.

    Attributes:
        max_norm: the L2 norm of a change is at most this many times the median norm of the other clients' last changes,
            and this many times the norm of the weights that were sent; otherwise the upload does not count. 0: no
            bound.
        max_share: with three or more clients, one client is weighted with at most this share of all training samples.
    """

    max_norm: NotNegative = 30.0
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.5


@settings
class Experiment:
    """One arm, complete.

    Attributes:
        name: the name of the run, and of its folder in ``runs``.
        seed: what all randomness derives from.
        task: what is learned.
        algorithm: how the clients learn together.
        device: torch's name of where the clients compute: ``cpu`` (several workers) or ``cuda`` (one).
        init: what all start from: weights drawn from the seed (``scratch``), or a file of them, by path or hub id.
        aggregation: the ``rule`` by which uploads are combined, and that rule's own settings.
        sections: the settings of every task and algorithm, by name.
    """

    name: str = "experiment"
    seed: CountOrZero = 0
    task: Annotated[str, OneOf(tasks.TASKS)] = tasks.DEFAULT
    algorithm: Annotated[str, OneOf(algorithms.ALGORITHM_SETTINGS)] = "omnifm"
    device: str = "cpu"
    init: Text = SCRATCH
    data: DataSettings = field(default_factory=DataSettings)
    partition: PartitionSettings = field(default_factory=PartitionSettings)
    federation: FederationSettings = field(default_factory=FederationSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    bank: BankSettings = field(default_factory=BankSettings)
    aggregation: dict[str, Any] = field(default_factory=lambda: {"rule": "mean"})
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    checks: ChecksSettings = field(default_factory=ChecksSettings)
    sections: dict[str, Any] = field(default_factory=dict)


_PLAIN = tuple(f.name for f in dataclasses.fields(Experiment) if f.name != "sections")


@dataclass(frozen=True)
class Plan:
    """An experiment file, read: its document with ``--set`` applied, and its arms by name.

    ``weights`` are the copies of initial weights next to the file, if it is that of a run.
    """

    document: Document
    arms: dict[str, Experiment]
    weights: KeptWeights | None = None

    @property
    def name(self) -> str:
        """The experiment's name."""
        return next(iter(self.arms.values())).name


def read_plan(experiment: str | Path | Document | Plan, changes: Changes = ()) -> Plan:
    """Read an experiment and change keys of it.

    Args:
        experiment: the path of its file, its content, or a plan.
        changes: values by dotted key, or texts ``key=value``.

    Raises:
        ExperimentError: the file cannot be read, or a key or value is not valid; names the key.
    """
    weights = None
    if isinstance(experiment, str | Path):
        path = Path(experiment)
        document = upgraded(read_toml(path, "experiment file", ExperimentError))
        document.setdefault("name", path.stem)
        weights = KeptWeights(path.parent / "init")
    elif isinstance(experiment, Plan):
        document, weights = _plain(experiment.document), experiment.weights
    else:
        document = upgraded(_plain(experiment))
    if isinstance(changes, Mapping):
        for key, value in changes.items():
            set_key(document, key, _plain(value))
    else:
        for override in changes:
            apply_override(document, override)
    try:
        to_toml(document)
    except (TypeError, ValueError, AttributeError) as error:
        raise ExperimentError(f"The experiment holds what TOML cannot hold: {error}.") from None
    return dataclasses.replace(make_plan(document), weights=weights)


def make_plan(document: Document) -> Plan:
    """Turn a document into a plan; every arm is checked before any runs.

    Raises:
        ExperimentError: a key or value is not valid; names it.
    """
    document = upgraded(document)
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
    return {key: value for key, value in document.items() if key not in ("arms", *UNRELATED)}


def renewed(document: Document, given: Document) -> Document:
    """Return a document with the :data:`UNRELATED` tables of the one given."""
    kept = {key: value for key, value in document.items() if key not in UNRELATED}
    return {**kept, **{key: given[key] for key in UNRELATED if key in given}}


def make_experiment(document: Mapping[str, Any]) -> Experiment:
    """Check one arm's document and fill in the defaults."""
    load_plugins()
    known = {**tasks.task_settings(), **algorithms.ALGORITHM_SETTINGS}  # now, as users register their own
    for key in document:
        if key not in _PLAIN and key not in known:
            raise ExperimentError(f"Unknown key {key!r}. {did_you_mean(key, (*_PLAIN, *known))}")
    _check_name(document.get("name"))
    plain: Experiment = checked(Experiment, {k: v for k, v in document.items() if k in _PLAIN}, ())
    _check_device(plain.device)
    sections = {name: checked(kind, document.get(name, {}), (name,)) for name, kind in known.items()}
    return dataclasses.replace(plain, aggregation=_aggregation(plain.aggregation), sections=sections)


def _aggregation(given: Document) -> Document:
    """Check ``[aggregation]``, whose keys depend on its rule, and fill in the defaults."""
    rule = given.get("rule", "mean")
    if not isinstance(rule, str) or rule not in AGGREGATORS:
        raise ExperimentError(f"Unknown aggregation.rule {rule!r}. {did_you_mean(str(rule), AGGREGATORS)}")
    own = {key: value for key, value in given.items() if key != "rule"}
    return {"rule": rule, **_plain(dataclasses.asdict(checked(AGGREGATORS[rule], own, ("aggregation",))))}


def determining(experiment: Experiment) -> Document:
    """Return the part of an experiment's document that results depend on: not where the data and the cache are."""
    document = to_document(experiment)
    document["data"] = {key: value for key, value in document["data"].items() if key not in PLACES}
    return document


def without_cache(plan: Plan) -> Plan:
    """Return a plan whose arms read images anew and keep none of them in the cache; its document stays."""
    arms = {
        name: dataclasses.replace(one, data=dataclasses.replace(one.data, cache_limit=0.0))
        for name, one in plan.arms.items()
    }
    return dataclasses.replace(plan, arms=arms)


def to_document(experiment: Experiment) -> Document:
    """Return the experiment as a document with every default written out; only the sections that it uses."""
    plain = _plain(dataclasses.asdict(experiment))
    sections = plain.pop("sections")
    used = {experiment.task, experiment.algorithm, getattr(experiment.sections[experiment.algorithm], "base", None)}
    return {**plain, **{name: values for name, values in sections.items() if name in used and values}}


def _check_name(name: Any) -> None:
    """Refuse a name that cannot be a folder's: a run goes to ``runs/NAME``."""
    if isinstance(name, str) and (not name.strip(". ") or any(letter in name for letter in "/\\\0")):
        raise ExperimentError(
            f"name = {name!r}: a run's folder is called so (runs/NAME). Leave out slashes; --out puts it anywhere."
        )


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        if reason.startswith("Could not run"):  # a list of all that torch was built for
            reason = f"this torch was built without {torch.device(name).type}, or the machine has none"
        raise ExperimentError(f"device = {name!r} cannot be used on this machine: {reason}. Use 'cpu'.") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
