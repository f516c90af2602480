"""Collects the spectral tokens and retrievals of a client's training, from which its prototypes are made."""

from __future__ import annotations

import torch
from torch import Tensor

from omnifm.data.subset import PATIENT, Batch
from omnifm.training.hooks import LocalTraining
from omnifm.training.model import Output


class TokenCollector:
    """Keeps the spectral tokens, their patients and the retrievals of the latest local epoch, on the training's device.

    Pass its ``hooks`` to :meth:`Trainer.with_hooks`. On a network without an adapter it stays empty.
    """

    def __init__(self) -> None:
        self._tokens: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._patients: list[Tensor] = []

    @property
    def hooks(self) -> LocalTraining:
        """The hooks that collect."""
        return LocalTraining(on_epoch=self._clear, on_batch=self._add)

    @property
    def tokens(self) -> Tensor:
        """The spectral tokens ``(samples, token_dim)``, on the CPU."""
        return torch.cat(self._tokens).cpu()

    @property
    def patients(self) -> Tensor:
        """The number of each token's patient among the client's, ``(samples,)`` int64, on the CPU."""
        return torch.cat(self._patients).cpu()

    @property
    def rows(self) -> Tensor:
        """The rows of the client's bank that each image retrieved, ``(samples, neighbours)`` int64, nearest first."""
        return torch.cat(self._rows).cpu()

    def _clear(self) -> None:
        self._tokens, self._rows, self._patients = [], [], []

    def _add(self, output: Output, batch: Batch) -> None:
        if output.adapter is not None:
            self._tokens.append(output.adapter.keys.detach())
            self._rows.append(output.adapter.retrieved)
            self._patients.append(batch[PATIENT])
