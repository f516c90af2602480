"""Local training and evaluation of one client, the same for every task and every algorithm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from omnifm.data.examples import Batch, ClientData, Examples
from omnifm.errors import NonFiniteLossError
from omnifm.networks.normalisation import has_statistics, measured_statistics
from omnifm.pipeline import Output, Pipeline
from omnifm.randomness import derive_seed, generator
from omnifm.recipe import Phase, Recipe, correct_gradients, trained_alone
from omnifm.tasks.task import Scores, Task
from omnifm.tensors import Tensors
from omnifm.weights import Weights


@dataclass(frozen=True)
class TrainingSettings:
    """How a client trains: ``[training]`` of an experiment.

    ``epochs`` are local epochs a round; ``schedule`` lets the learning rate stay or fall by a cosine over the rounds.
    The optimiser starts afresh in every round: its state belongs to weights that the server has since changed.
    """

    epochs: int = 1
    batch_size: int = 32
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    schedule: Literal["constant", "cosine"] = "constant"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError("epochs must be at least 1 and batch_size at least 2")
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ValueError("learning_rate and clip_norm must be positive")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError("momentum must lie in [0, 1) and weight_decay must not be negative")


@dataclass(frozen=True)
class Fit:
    """What local training tells.

    ``samples`` seen in one epoch, optimiser ``steps`` taken, mean ``loss`` of the last epoch. With an adapter:
    ``spectral`` ``(samples, token_dim)`` tokens of the last epoch, and ``retrieved`` ``(bank entries,)`` how often
    each was retrieved in it.
    """

    samples: int
    steps: int
    loss: float
    spectral: Tensor | None
    retrieved: Tensor | None


class Trainer:
    """One client's data on one pipeline, for one round.

    The pipeline may have served another client before; ``weights`` are its tensors, and ``initial`` the values of those
    that are given none by the first :meth:`load`. ``personal`` are the names of the tensors that stay at this client;
    all others are shared.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        task: Task,
        client: ClientData,
        settings: TrainingSettings,
        personal: frozenset[str],
        seed: int,
        progress: float = 0.0,
        weights: Weights | None = None,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._pipeline, self.task, self.client, self.settings = pipeline, task, client, settings
        self._common_weights = weights
        self._initial = initial or {}
        self.personal = personal
        self.seed = seed
        self.progress = progress
        self.last_fit: Fit | None = None

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, with this client's weights or, before any are loaded, the initial ones."""
        self._load_initial()
        return self._pipeline

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that gradients act on, by name."""
        self._load_initial()
        return self._weights.trainable

    @property
    def learning_rate(self) -> float:
        """The learning rate of this round."""
        if self.settings.schedule == "constant":
            return self.settings.learning_rate
        return self.settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))

    @property
    def _device(self) -> torch.device:
        return next(self.pipeline.parameters()).device

    def load(self, *sources: Mapping[str, Tensor]) -> None:
        """Overwrite the pipeline's tensors with those given, later ones over earlier ones."""
        values, self._initial = dict(self._initial), {}
        for source in sources:
            values.update(source)
        self._weights.load(values)

    @cached_property
    def _weights(self) -> Weights:
        return self._common_weights or Weights(self._pipeline)

    def _load_initial(self) -> None:
        if self._initial:
            self.load()

    def views(self, *, shared: bool | None = None) -> Tensors:
        """Return the shared tensors, the personal ones, or (None) both, as they lie in the pipeline."""
        self._load_initial()
        own = self._weights.tensors
        return {name: v for name, v in own.items() if shared is None or (name in self.personal) != shared}

    def tensors(self, *, shared: bool | None = None) -> Tensors:
        """Return copies of :meth:`views`, on the CPU."""
        return {
            name: value.cpu().clone(memory_format=torch.contiguous_format)
            for name, value in self.views(shared=shared).items()
        }

    def place(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """Return those of the tensors that are parameters here, on the pipeline's device."""
        known = self.trainable
        return {name: value.to(self._device) for name, value in tensors.items() if name in known}

    def frozen(self) -> Pipeline:
        """Return a copy of the pipeline as it stands, in evaluation mode, that no gradient moves."""
        return deepcopy(self.pipeline).eval().requires_grad_(False)

    def use_bank(self, entries: Tensor | None) -> None:
        """Let the adapter, if there is one, retrieve from bank entries ``(n, token_dim)``, or from none."""
        if self._pipeline.adapter is not None:
            self._pipeline.adapter.use_bank(entries)

    def fit(self, round_number: int, recipe: Recipe | None = None) -> Fit:
        """Train for the epochs of the settings.

        Args:
            round_number: with the seed and the client's name, the source of all randomness.
            recipe: the algorithm's changes.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite; names client, round and batch.
        """
        recipe = recipe or Recipe()
        self._weights.changed()
        stream = (self.seed, self.client.name, round_number, "train")
        train = self.task.prepare(self.client.train)
        phases = recipe.phases or (Phase(self.settings.epochs),)
        order = generator(*stream)
        steps, losses, recorder = 0, [], _Recorder(self.pipeline)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(*stream))
            self.pipeline.train()
            for place, phase in enumerate(phases, start=1):
                with trained_alone(self.trainable, phase.names) as weights:
                    optimizer = self._optimizer(list(weights.values()))
                    for epoch in range(phase.epochs):
                        last = place == len(phases) and epoch == phase.epochs - 1
                        for rows in _shuffled(len(train), self.settings.batch_size, order):
                            batch = self.task.augment(_to_device(train.batch(rows), self._device), order)
                            where = f"in round {round_number}, batch {steps + 1}"
                            loss, output = self._step(batch, weights, optimizer, recipe, where)
                            steps += 1
                            if last:
                                losses.append(loss * len(rows))
                                recorder.record(output)
        self.measure_statistics(round_number)
        self.last_fit = Fit(len(train), steps, sum(losses) / len(train), *recorder.result())
        return self.last_fit

    def _step(
        self,
        batch: Batch,
        weights: dict[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        where: str,
    ) -> tuple[float, Output]:
        """Take one optimiser step; return the task's loss and the output."""
        output: Output = self.pipeline(batch)
        loss = self.task.loss(output.prediction, batch)
        objective = loss if output.adapter is None else loss + output.adapter.alignment
        if recipe.term is not None:
            objective = objective + recipe.term(output, batch)
        self._check(objective, where)
        optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights.values(), self.settings.clip_norm)
        if recipe.correct is not None:
            correct_gradients(weights, recipe.correct)
        optimizer.step()
        return float(loss.detach()), output

    def measure_statistics(self, round_number: int) -> None:
        """Set the statistics of batch normalisation, if there is any, to those of the training images as they are."""
        if not has_statistics(self.pipeline):
            return
        self._weights.changed()
        order = generator(self.seed, self.client.name, round_number, "statistics")
        with measured_statistics(self.pipeline):
            for rows in _shuffled(len(self.client.train), self.settings.batch_size, order):
                self.pipeline(_to_device(self.client.train.batch(rows), self._device))

    @property
    def owns_statistics(self) -> bool:
        """Whether the statistics of batch normalisation stay at this client."""
        return any(name in self.personal for name, _ in self.pipeline.named_buffers() if name.endswith("running_mean"))

    @torch.no_grad()
    def evaluate(self, split: Literal["train", "validation", "test"]) -> Scores:
        """Score the pipeline as it stands on one of the client's splits.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite; names client and split.
        """
        meter, total = self.task.meter(), 0.0
        examples: Examples = getattr(self.client, split)
        for batch, output in self.predict(examples):
            loss = self.task.loss(output.prediction, batch)
            self._check(loss, f"on its {split} data")
            meter.add(output.prediction, batch)
            total += float(loss) * len(batch["image"])
        scores = meter.scores()
        return Scores({**scores.numbers, "loss": total / len(examples)}, scores.tables)

    @torch.no_grad()
    def predict(self, examples: Examples, batch_size: int = 64) -> Iterator[tuple[Batch, Output]]:
        """Yield each batch with its output, in order, the pipeline in evaluation mode."""
        self.pipeline.eval()
        for rows in torch.split(torch.arange(len(examples)), batch_size):
            batch = _to_device(examples.batch(rows), self._device)
            yield batch, self.pipeline(batch)

    def _check(self, loss: Tensor, where: str) -> None:
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"The loss of client {self.client.name!r} is {float(loss.detach())} {where}. Lower "
                f"training.learning_rate (now {self.settings.learning_rate:g}) or training.clip_norm, or look at its "
                f"images."
            )

    def _optimizer(self, weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        settings, rate = self.settings, self.learning_rate
        if settings.optimizer == "adamw":
            return torch.optim.AdamW(weights, lr=rate, weight_decay=settings.weight_decay, fused=True)
        return torch.optim.SGD(
            weights, lr=rate, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )


class _Recorder:
    """Collects what the adapter saw: spectral tokens, and how often each bank entry was retrieved."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._entries = None if pipeline.adapter is None else len(pipeline.adapter.bank)
        self._spectral: list[Tensor] = []
        self._rows: list[Tensor] = []

    def record(self, output: Output) -> None:
        if output.adapter is not None:
            self._spectral.append(output.adapter.spectral.detach().cpu())
            self._rows.append(output.adapter.retrieved.flatten().cpu())

    def result(self) -> tuple[Tensor | None, Tensor | None]:
        if self._entries is None:
            return None, None
        return torch.cat(self._spectral), torch.bincount(torch.cat(self._rows), minlength=self._entries)


def _shuffled(count: int, batch_size: int, order: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled rows in batches; a last single row joins the batch before (batch norm needs two)."""
    batches = list(torch.split(torch.randperm(count, generator=order), batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        single = batches.pop()
        batches[-1] = torch.cat([batches[-1], single])
    yield from batches


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
