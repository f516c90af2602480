"""What the uploads of an arm can hold, from its network alone, before any hospital has answered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from omnifm.algorithms.circle_exchange import in_parts
from omnifm.algorithms.kinds import Kind
from omnifm.config.experiment import Experiment
from omnifm.core.records import Upload
from omnifm.data.client_stats import ClientStats
from omnifm.runs.arm import Arm, DataSpec, count_parameters
from omnifm.spectral.bank import BankSettings
from omnifm.tasks.task import DataShape
from omnifm.utils.errors import DataError


@dataclass(frozen=True)
class ImaginedData:
    """What is assumed of data that nobody has looked at: the numbers of classes, of answers to questions, of hospitals.

    The defaults are more classes and answers than usual.
    """

    classes: int = 20
    answers: int = 500
    hospitals: int = 10

    def spec(self, experiment: Experiment, channels: int) -> DataSpec:
        """Return properties that such data could have, as images of two axes."""
        size = experiment.data.size
        labels, answers = (tuple(map(str, range(count))) for count in (self.classes, self.answers))
        clients = tuple(ClientStats(f"hospital-{n + 1}", "MRI", 100, 10, 10) for n in range(self.hospitals))
        shape = DataShape(channels, (size, size), labels, answers)
        return DataSpec(shape=shape, channels=channels, axes=2, client_stats=clients)


def size_and_spec(experiment: Experiment, imagined: ImaginedData) -> tuple[int, DataSpec]:
    """Return the numbers in an experiment's network, and properties that the hospitals' data could have.

    Some tasks take pairs of images, which are two channels.

    Raises:
        OmniFMError: no network can be made for either.
    """
    try:
        spec = imagined.spec(experiment, experiment.data.channels)
        return count_parameters(experiment, spec), spec
    except DataError:
        spec = imagined.spec(experiment, 2)
        return count_parameters(experiment, spec), spec


def largest_upload(arm: Arm) -> tuple[Upload, dict[str, Kind]]:
    """Return an upload with every tensor that a client of an arm can send, and their kinds.

    Its prototypes are as many, and over as few patients, as the experiment allows, and every entry of a full bank was
    retrieved. The numbers in it mean nothing.
    """
    algorithm = arm.algorithm
    broadcast = algorithm.broadcast(arm.start().server)
    change = {**circle_weights(arm), **broadcast.shared}
    upload = Upload("A", 1, 0.0, change, dict(algorithm.expected(broadcast)), {"group": ""})
    kinds = arm.runtime.kinds(upload)
    extra = {name: _full(name, v, kinds[f"extra/{name}"], arm.experiment.bank) for name, v in upload.extra.items()}
    return replace(upload, extra=extra), kinds


def circle_weights(arm: Arm) -> dict[str, Tensor]:
    """Return the weights that leave a client only while it is in a circle with others; mostly none."""
    shared = arm.runtime.initial.keys() - arm.runtime.personal
    within = set(in_parts(shared, arm.algorithm.in_circles))
    return {name: value for name, value in arm.runtime.initial.items() if name in within}


def _full(name: str, like: Tensor, kind: Kind, bank: BankSettings) -> Tensor:
    """Give an axis of any length, which is 0 in ``like``, the most that it can have."""
    if like.shape[:1] != (0,):
        return like
    entries = bank.prototypes if kind is Kind.PROTOTYPE or name.endswith("/sizes") else bank.capacity
    return like.new_full((entries, *like.shape[1:]), bank.min_cluster)
