"""The data of an attack: a hospital, its patients under attack, the attacker's own images, and other candidates."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from reidentification import SOURCES, first_rows
from torch import Tensor

from omnifm.config.experiment import Experiment, make_experiment
from omnifm.data.federated_dataset import FederatedDataset, load_dataset
from omnifm.data.subset import ClientData
from omnifm.runs.arm import Arm, make_arm


class Sizes(NamedTuple):
    """How many pixels an image has a side, and how many images there are of each kind."""

    pixels: int
    attacked: int
    known: int
    candidates: int


class Material:
    """One set of images, as one hospital, drawn anew with each seed; a patient has one image.

    Args:
        data: a name of ``SOURCES``.
        root: the folder of sets that are not the phantom.
        cache: the folder for prepared images.
        sizes: of the draw.
    """

    def __init__(self, data: str, root: str, cache: str, sizes: Sizes) -> None:
        needed = round(1.2 * (sizes.attacked + sizes.known + sizes.candidates))
        self.data, self.sizes = data, sizes
        self._source = {**SOURCES[data], **({"patients": needed} if data == "phantom" else {})}
        self._about = {"root": root, "cache": cache, "size": sizes.pixels}

    def arm(self, algorithm: str, epsilon: float = 0.0, width: int = 24) -> Arm:
        """Return an arm of the compact network on these images, without augmentation."""
        return make_arm(self._experiment(algorithm, epsilon, width), self._dataset)

    def _experiment(self, algorithm: str, epsilon: float, width: int) -> Experiment:
        privacy: dict[str, Any] = {"privacy": {"epsilon": epsilon}} if epsilon else {}
        return make_experiment(
            {
                "algorithm": algorithm,
                "classification": {"width": width, "norm": "group", "augment": False},
                "data": {**self._about, "sources": [self._source]},
                "partition": {"kind": "institution", "validation": 0.05, "test": 0.05},
                "federation": {"rounds": 2, "evaluate": ["before_local_training"]},
                **privacy,
            }
        )

    @cached_property
    def _dataset(self) -> FederatedDataset:
        experiment = self._experiment("fedavg", 0.0, 24)
        return load_dataset(experiment.data, experiment.partition, experiment.seed)

    @property
    def client(self) -> ClientData:
        """The hospital; the rows of :meth:`draw` are those of its training data."""
        return self._dataset.clients[0]

    @cached_property
    def images(self) -> Tensor:
        """All training images, ``(n, 1, h, w)`` float32 in [0, 1]."""
        return self.client.train.column("image").float()

    @cached_property
    def spectral(self) -> Arm:
        """The arm that makes keys and prototypes, by the defaults."""
        return self.arm("omnifm")


class Draw(NamedTuple):
    """Rows of the training data: patients under attack, images that the attacker has, and other candidates."""

    attacked: Tensor
    known: Tensor
    others: Tensor

    @classmethod
    def of(cls, material: Material, chance: torch.Generator) -> Draw:
        """Draw from one image a patient."""
        train, sizes = material.client.train, material.sizes
        one_each = first_rows(train.patients)
        if (least := sum(sizes[1:])) > len(one_each):
            raise SystemExit(
                f"{material.data} has {len(one_each)} training patients; {least} are needed: ask for fewer."
            )
        order = one_each[torch.randperm(len(one_each), generator=chance)]
        parts = order.split([sizes.attacked, sizes.known, len(order) - sizes.attacked - sizes.known])
        return cls(parts[0], parts[1], parts[2][: sizes.candidates - 1])
