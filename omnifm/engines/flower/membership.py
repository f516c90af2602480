"""Who takes part in a run, in which order, and the classes of all: fixed when it begins, kept beside it on the disk."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.config.experiment import Experiment
from omnifm.data.client_stats import ClientStats
from omnifm.data.subset import distinct
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.messages import ClientProperties
from omnifm.runs.arm import Arm, DataSpec, build_arm
from omnifm.tasks.task import DataShape
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import DeploymentError

MEMBERSHIP_FILE = "membership.json"
"""What it is called in the run's folder."""


@dataclass(kw_only=True)
class Membership:
    """The run's name, and what was agreed on. ``keys`` are the hospitals' public keys by name."""

    run: str
    names: tuple[str, ...]
    shape: DataShape
    channels: int
    axes: int
    keys: dict[str, str] = field(default_factory=dict)
    client_stats: dict[str, ClientStats] = field(default_factory=dict)

    @property
    def data_spec(self) -> DataSpec:
        """What an arm must know of the data; a hospital that has not been there yet holds nothing."""
        client_stats = tuple(self.client_stats.get(name, ClientStats(name, "", 0, 0, 0)) for name in self.names)
        return DataSpec(self.shape, self.channels, self.axes, client_stats)

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together from what the hospitals told; where there are no data, the CPU will do."""
        arm = build_arm(replace(experiment, device="cpu"), self.data_spec, kept)
        return replace(arm, experiment=experiment)

    def reject_reason(self, told: ClientProperties, key: str) -> str:
        """Say why a hospital cannot take part; nothing if it can."""
        name = told.stats.name
        if name not in self.names:
            return f"it is not among the hospitals of this run: {', '.join(self.names)}"
        if self.keys.get(name, key) != key:
            return "another hospital took part under this name, with another key"
        if (told.shape.channels, told.shape.size, told.channels, told.axes) != (
            self.shape.channels,
            self.shape.size,
            self.channels,
            self.axes,
        ):
            return f"its images of {_like(told.shape)} are not like those of the run, {_like(self.shape)}"
        if new := [label for label in told.shape.label_names if label not in self.shape.label_names]:
            classes = ", ".join(map(repr, new))
            return f"it brings classes that the run has not: {classes}; name them in deploy.labels of a new run"
        return ""

    def welcome(self, told: ClientProperties, key: str) -> None:
        """Take in what a hospital told of itself."""
        self.client_stats[told.stats.name] = told.stats
        self.keys[told.stats.name] = key

    def write(self, folder: Path) -> None:
        """Write it down in the run's folder."""
        shape = {"size": self.shape.size, "channels": self.shape.channels}
        plain: dict[str, Any] = {
            "run": self.run,
            "hospitals": self.names,
            "labels": self.shape.label_names,
            "vocabulary": self.shape.vocabulary,
            **shape,
            "posed": {"channels": self.channels, "axes": self.axes},
            "keys": self.keys,
        }
        write_atomically(folder / MEMBERSHIP_FILE, json.dumps(plain, indent=1).encode())


def read_membership(folder: Path) -> Membership | None:
    """Read what was agreed on when the run in a folder began; None if it has not, or all its data are here.

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
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeploymentError(f"{path} is damaged ({error!r}): start the run anew in another folder.") from None


def agree(there: Mapping[str, tuple[ClientProperties, str]], settings: DeploySettings) -> Membership:
    """Begin a run with the hospitals that are there.

    Raises:
        DeploymentError: their data do not fit together.
    """
    names = settings.hospitals or tuple(sorted(there))
    present = [there[name][0] for name in names if name in there]
    first = present[0]
    shape = DataShape(
        first.shape.channels,
        first.shape.size,
        distinct([name for part in (*(told.shape.label_names for told in present), settings.labels) for name in part]),
        tuple(sorted({answer for told in present for answer in told.shape.vocabulary})),
    )
    membership = Membership(
        run=secrets.token_hex(16), names=names, shape=shape, channels=first.channels, axes=first.axes
    )
    for name in names:
        if name in there:
            told, key = there[name]
            if reason := membership.reject_reason(told, key):
                raise DeploymentError(f"{name} cannot take part: {reason}.")
            membership.welcome(told, key)
    return membership


def _like(shape: DataShape) -> str:
    return f"{' x '.join(map(str, shape.size))} pixels and {shape.channels} channels"
