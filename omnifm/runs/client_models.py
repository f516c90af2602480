"""Clients' models that depend on their data, kept at the end of an arm: loading them then needs no data.

What a client starts from can depend on its validation data (acceptance), on statistics of its training images, or on
its labels. Where it does, the model as it was tested is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from omnifm.checkpoint.client_store import file_name
from omnifm.checkpoint.file import read_checkpoint, write_checkpoint
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState
from omnifm.core.tensors import Tensors
from omnifm.data.subset import ClientData, LazySubset, Subset
from omnifm.runs.arm import Arm
from omnifm.training.model import FederatedModel


class _NoDataError(Exception):
    """A client's data were asked for."""


@dataclass(frozen=True)
class ClientModels:
    """The kept models of an arm, in a folder: a file each."""

    folder: Path

    def keep(self, arm: Arm, chosen: Checkpoint, *, always: bool = False) -> None:
        """Keep each client's model before local training that cannot be loaded without the client's data.

        Args:
            arm: with the data of its clients.
            chosen: the round that validation chose.
            always: keep all of them, as where the states of the clients are elsewhere.
        """
        broadcast = arm.algorithm.broadcast(chosen.server)
        blind = replace(arm.runtime, clients=_Blind(arm.runtime.clients))
        for client in arm.evaluated:
            received = broadcast.with_message(arm.algorithm.message(chosen.server, client))
            state = chosen.clients.get(client, ClientState())
            if not always:
                with suppress(_NoDataError):
                    blind.frozen_model(received, client, state, "before_local_training")
                    continue
            model = arm.runtime.frozen_model(received, client, state, "before_local_training")
            kept = {name: value.detach().cpu() for name, value in _own(model, arm).items()}
            self.folder.mkdir(parents=True, exist_ok=True)
            write_checkpoint(self._file(client), kept, {"round": broadcast.round})

    def read(self, arm: Arm, client: str, round_number: int) -> FederatedModel | None:
        """Return a client's kept model in evaluation mode, or None where none is kept of a broadcast of this round.

        Raises:
            CheckpointError: the file is damaged.
        """
        if not self.holds(client):
            return None
        tensors, plain = read_checkpoint(self._file(client))
        if plain["round"] != round_number:
            return None
        model = arm.runtime.model.frozen()
        places = _own(model, arm)
        for name, value in tensors.items():
            if places[name].shape == value.shape:
                with torch.no_grad():
                    places[name].copy_(value)
            else:  # what a client looks up has as many rows as it received
                module, _, buffer = name.rpartition(".")
                setattr(model.get_submodule(module), buffer, value.to(places[name].device))
        return model

    def holds(self, client: str) -> bool:
        """Return whether a model of this client is kept."""
        return self._file(client).is_file()

    def _file(self, client: str) -> Path:
        return self.folder / f"{file_name(client)}.safetensors"


def _own(model: FederatedModel, arm: Arm) -> Tensors:
    """Return the tensors of a model that are not the same for every client: those learned, and all buffers."""
    learned = arm.runtime.weights.tensors
    state = {name: value for name, value in model.state_dict(keep_vars=True).items() if name in learned}
    return {**state, **dict(model.named_buffers())}


class _Blind(Mapping[str, ClientData]):
    """Clients whose data nobody may look at."""

    def __init__(self, clients: Mapping[str, ClientData]) -> None:
        self._clients = clients

    def __getitem__(self, name: str) -> ClientData:
        unseen = LazySubset(partial(_refuse, name))
        return replace(self._clients[name], train=unseen, validation=unseen, test=unseen)

    def __iter__(self) -> Iterator[str]:
        return iter(self._clients)

    def __len__(self) -> int:
        return len(self._clients)


def _refuse(name: str) -> Subset:
    raise _NoDataError(name)
