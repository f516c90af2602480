"""``[training]`` of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnifm.utils.device import Precision


@dataclass(frozen=True)
class TrainingSettings:
    """How a client trains: ``[training]`` of an experiment.

    ``epochs`` are local epochs a round; ``schedule`` lets the learning rate stay or fall by a cosine over the rounds.
    The optimiser starts afresh in every round: its state belongs to weights that the server has since changed.
    Gradients longer than ``clip_norm`` are shortened to it, 0 shortens none. ``precision = "bf16"`` computes forward
    passes in bfloat16 where torch holds that to be safe; weights, gradients and spectral tokens stay float32.
    ``statistics`` of batch normalisation are ``measured`` in one more pass over the training images after training, or
    those that were ``running`` in it.
    """

    epochs: int = 1
    batch_size: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    schedule: Literal["constant", "cosine"] = "constant"
    precision: Precision = "float32"
    statistics: Literal["measured", "running"] = "measured"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError("epochs must be at least 1 and batch_size at least 2")
        if self.learning_rate <= 0 or self.clip_norm < 0:
            raise ValueError("learning_rate must be positive and clip_norm not negative")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError("momentum must lie in [0, 1) and weight_decay must not be negative")
