"""``[training]`` of an experiment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from omnifm.utils.device import Precision
from omnifm.utils.settings import BelowOne, Count, NotNegative, Positive, settings


@settings
class TrainingSettings:
    """How a client trains: ``[training]`` of an experiment.

    The optimiser is new in every round: its old state belongs to weights that the server has since changed.

    Attributes:
        epochs: local epochs in a round.
        batch_size: examples in a step.
        optimizer: SGD with momentum, or AdamW.
        learning_rate: the optimiser's step size.
        momentum: of SGD; AdamW has its own.
        weight_decay: how much a step shrinks the weights: an L2 penalty with SGD, decoupled with AdamW.
        clip_norm: the largest norm of a gradient; 0 turns clipping off.
        schedule: whether the learning rate stays, or falls by a cosine over the rounds.
        precision: ``bf16`` computes forward passes in bfloat16 where torch considers it safe; weights, gradients and
            spectral tokens stay float32.
        statistics: those of batch normalisation are ``measured`` in one more pass over the training images after
            training, or are the ``running`` averages of training.
    """

    epochs: Count = 1
    batch_size: Annotated[int, Field(ge=2)] = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Positive = 0.05
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 1e-4
    clip_norm: NotNegative = 5.0
    schedule: Literal["constant", "cosine"] = "constant"
    precision: Precision = "float32"
    statistics: Literal["measured", "running"] = "measured"
