"""An algorithm that sends each client what no other receives, and a step on uploads that draws from the secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.kinds import Kind
from omnifm.algorithms.registry import ALGORITHM_SETTINGS, register_algorithm
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.privacy.secret import ClientSecret, private_generator
from omnifm.privacy.step import UploadStep
from omnifm.training.trainer import Trainer


@dataclass(frozen=True)
class Messenger(Algorithm):
    """Each client but those of PET is sent a number, by its name and the round, by which its head is shifted."""

    def message(self, state: ServerState, client: str) -> Tensors:
        number = sum(client.encode()) / 1000 + state.round
        return {} if client == "PET" else {"shift": torch.full((3,), number)}

    def broadcast(self, state: ServerState) -> Broadcast:
        return replace(super().broadcast(state), extra={"common": torch.ones(2)})

    def receive(self, broadcast: Broadcast, client: ClientState, trainer: Trainer) -> None:
        super().receive(broadcast, client, trainer)
        assert broadcast.extra["common"].tolist() == [1.0, 1.0]
        assert ("shift" in broadcast.extra) == (trainer.client.name != "PET")
        if "shift" in broadcast.extra:
            shift = broadcast.extra["shift"].mean()
            trainer.load({name: v + shift for name, v in broadcast.shared.items() if name.endswith("head.bias")})


@contextmanager
def messenger_known() -> Iterator[None]:
    """Let experiments use ``algorithm = "messenger"`` in this block."""
    register_algorithm("messenger")(Messenger)
    try:
        yield
    finally:
        del ALGORITHM_SETTINGS["messenger"]


class Noise(UploadStep):
    """Adds noise that only who knows the secret can compute."""

    def on_client(self, upload: Upload, kinds: Mapping[str, Kind], secret: ClientSecret) -> Upload:

        def noise(name: str, value: Tensor) -> Tensor:
            drawn = private_generator(secret, "noise", name).standard_normal(tuple(value.shape))
            return torch.from_numpy(drawn).to(value)

        noisy = {n: v + noise(n, v) for n, v in upload.change.items() if kinds[f"change/{n}"] is Kind.PARAMETER}
        return replace(upload, change={**upload.change, **noisy})
