"""Who takes part in a run, in which order, and all classes: fixed when it begins, and stored in its folder."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.config.experiment import Experiment
from omnifm.data.client_stats import ClientStats
from omnifm.data.subset import distinct
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.messages import ClientProperties
from omnifm.engines.flower.request_form import ANSWERS, LABELS
from omnifm.runs.arm import Arm, DataSpec, build_arm
from omnifm.tasks.task import DataShape
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import DeploymentError

MEMBERSHIP_FILE = "membership.json"
"""Its name in the run's folder."""


@dataclass(kw_only=True)
class Membership:
    """The run's name, and what was agreed on.

    ``keys`` are the hospitals' public keys by name; those ``set_aside`` are not asked any more.
    """

    run: str
    names: tuple[str, ...]
    shape: DataShape
    channels: int
    axes: int
    keys: dict[str, str] = field(default_factory=dict)
    client_stats: dict[str, ClientStats] = field(default_factory=dict)
    set_aside: set[str] = field(default_factory=set)

    @property
    def data_spec(self) -> DataSpec:
        """The data properties for an arm; a hospital that has not connected yet has no data."""
        client_stats = tuple(self.client_stats.get(name, ClientStats(name, "", 0, 0, 0)) for name in self.names)
        return DataSpec(shape=self.shape, channels=self.channels, axes=self.axes, client_stats=client_stats)

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Build an arm from the hospitals' properties, on the CPU, as no data are here."""
        arm = build_arm(replace(experiment, device="cpu"), self.data_spec, kept)
        return replace(arm, experiment=experiment)

    def reject_reason(self, properties: ClientProperties, key: str) -> str:
        """Return why a hospital cannot take part, or "" if it can."""
        name = properties.stats.name
        if name not in self.names:
            return f"it is not among the hospitals of this run: {', '.join(self.names)}"
        if self.keys.get(name, key) != key:
            return "another hospital took part under this name, with another key"
        if _form(properties) != (self.shape.channels, self.shape.size, self.channels, self.axes):
            return f"its images of {_describe(properties.shape)} are not like those of the run, {_describe(self.shape)}"
        if new := [label for label in properties.shape.label_names if label not in self.shape.label_names]:
            classes = ", ".join(map(repr, new))
            return f"it has classes that the run lacks: {classes}; name them in deploy.labels of a new run"
        return ""

    def admit(self, properties: ClientProperties, key: str) -> None:
        """Record a hospital's properties and key."""
        self.client_stats[properties.stats.name] = properties.stats
        self.keys[properties.stats.name] = key

    def write(self, folder: Path) -> None:
        """Write the membership file to the run's folder."""
        shape = {"size": self.shape.size, "channels": self.shape.channels}
        plain: dict[str, Any] = {
            "run": self.run,
            "hospitals": self.names,
            "labels": self.shape.label_names,
            "vocabulary": self.shape.vocabulary,
            **shape,
            "posed": {"channels": self.channels, "axes": self.axes},
            "keys": self.keys,
            "set_aside": sorted(self.set_aside),
        }
        write_atomically(folder / MEMBERSHIP_FILE, json.dumps(plain, indent=1).encode())


def read_membership(folder: Path) -> Membership | None:
    """Read the membership of the run in a folder; None if it has not begun, or has all its data here.

    Raises:
        DeploymentError: the file is damaged.
    """
    path = folder / MEMBERSHIP_FILE
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        shape = DataShape(plain["channels"], tuple(plain["size"]), tuple(plain["labels"]), tuple(plain["vocabulary"]))
        posed = plain["posed"]
        return Membership(
            run=plain["run"],
            names=tuple(plain["hospitals"]),
            shape=shape,
            channels=posed["channels"],
            axes=posed["axes"],
            keys=dict(plain["keys"]),
            set_aside=set(plain.get("set_aside", ())),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeploymentError(f"{path} is damaged ({error!r}): start a new run in another folder.") from None


def dissenters(connected: Mapping[str, ClientProperties]) -> dict[str, str]:
    """Return the hospitals whose images differ from those of most, with the reason."""
    if not connected:
        return {}
    forms = Counter(map(_form, connected.values()))
    usual = max(forms, key=forms.__getitem__)
    like = next(one.shape for one in connected.values() if _form(one) == usual)
    return {
        name: f"its images of {_describe(one.shape)} are not like those of most, {_describe(like)}"
        for name, one in connected.items()
        if _form(one) != usual
    }


def agree(connected: Mapping[str, tuple[ClientProperties, str]], settings: DeploySettings) -> Membership:
    """Begin a run with the connected hospitals, whose images are alike (see :func:`dissenters`)."""
    names = settings.hospitals or tuple(sorted(connected))
    present = [connected[name][0] for name in names if name in connected]
    first, shared = present[0], _within(present, settings)
    shape = DataShape(
        first.shape.channels,
        first.shape.size,
        distinct([name for part in (*(one.shape.label_names for one in shared), settings.labels) for name in part]),
        tuple(sorted({answer for one in shared for answer in one.shape.vocabulary})),
    )
    run = secrets.token_hex(16)
    membership = Membership(run=run, names=names, shape=shape, channels=first.channels, axes=first.axes)
    for name in names:
        if name in connected:
            membership.admit(*connected[name])
    return membership


def _within(present: Sequence[ClientProperties], settings: DeploySettings) -> list[ClientProperties]:
    """Return the hospitals whose classes and answers together are not more than every hospital takes in a request.

    Those that name the most are left out: one cannot keep out the others by naming as many as it may.
    """
    kept, labels, answers = set[str](), {*settings.labels}, set[str]()
    for one in sorted(present, key=lambda one: len(one.shape.label_names) + len(one.shape.vocabulary)):
        more, further = labels.union(one.shape.label_names), answers.union(one.shape.vocabulary)
        if len(more) <= LABELS and len(further) <= ANSWERS:
            kept.add(one.stats.name)
            labels, answers = more, further
    return [one for one in present if one.stats.name in kept]


def _form(properties: ClientProperties) -> tuple[int, tuple[int, ...], int, int]:
    return properties.shape.channels, properties.shape.size, properties.channels, properties.axes


def _describe(shape: DataShape) -> str:
    return f"{' x '.join(map(str, shape.size))} pixels and {shape.channels} channels"
