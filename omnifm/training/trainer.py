"""Local training and evaluation of one client, the same for every task and every algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import torch
from torch import Tensor

from omnifm.core.tensors import Tensors
from omnifm.data.subset import PATIENT, Batch, ClientData, Subset
from omnifm.networks.normalisation import can_normalise, layers_with_statistics, measured_statistics
from omnifm.tasks.task import Scores, Task
from omnifm.training.epoch import EpochLosses, check_finite, even_batches, shuffled_batches
from omnifm.training.hooks import LocalTraining, Phase, change_gradients, objective_of, trained_alone
from omnifm.training.model import FederatedModel, Output
from omnifm.training.optimizer import make_optimizer
from omnifm.training.private import PrivateRound
from omnifm.training.settings import TrainingSettings
from omnifm.training.weight_cache import WeightCache
from omnifm.utils.device import as_float32, autocast, deterministic, fork_rng, to_device
from omnifm.utils.seeding import derive_seed, generator
from omnifm.utils.signals import check_interrupts
from omnifm.utils.work_limit import begin_epoch

Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True)
class Fit:
    """The result of local training: ``samples`` of one epoch, optimiser ``steps``, mean ``loss`` of the last epoch.

    In a private run the samples are patients, counted with noise, and there is no loss.
    """

    samples: int
    steps: int
    loss: float | None


class Trainer:
    """One client's training and evaluation in one round.

    The model can have been used for another client before; ``weights`` are its tensors, and ``initial`` the values of
    those that the first :meth:`load` does not set. ``personal`` are the names of the tensors that stay at this client;
    all others are shared. ``progress`` is the share of the planned rounds that are done.
    """

    private: PrivateRound | None = None
    """What adds noise to all that leaves, in a private run."""

    def __init__(
        self,
        model: FederatedModel,
        task: Task,
        client: ClientData,
        settings: TrainingSettings,
        personal: frozenset[str],
        seed: int,
        progress: float = 0.0,
        weights: WeightCache | None = None,
        initial: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._model, self.task, self.client, self.settings = model, task, client, settings
        self._common_weights = weights
        self._initial = initial or {}
        self.personal = personal
        self.seed = seed
        self.progress = progress
        self.last_fit: Fit | None = None
        self._added: list[LocalTraining] = []
        self.device = next(model.parameters()).device

    @property
    def model(self) -> FederatedModel:
        """The model with this client's weights or, before any are loaded, the initial ones."""
        self._load_initial()
        return self._model

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

    def load(self, *sources: Mapping[str, Tensor]) -> None:
        """Overwrite the model's tensors with those given; later sources take precedence."""
        values, self._initial = dict(self._initial), {}
        for source in sources:
            values.update(source)
        self._weights.load(values)

    @cached_property
    def _weights(self) -> WeightCache:
        return self._common_weights or WeightCache(self._model)

    def _load_initial(self) -> None:
        if self._initial:
            self.load()

    def views(self, *, shared: bool | None = None) -> Tensors:
        """Return the model's own shared tensors, its personal ones, or (None) both, not copied."""
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
        """Return those of the tensors that are parameters of the model, on its device."""
        trainable = self.trainable
        return {name: value.to(self.device) for name, value in tensors.items() if name in trainable}

    def frozen(self) -> FederatedModel:
        """Return a copy of the model in evaluation mode, without gradients."""
        return self.model.frozen()

    def modules(self, kind: type[Module]) -> list[Module]:
        """Return the model's modules of a class, to be set up for this client; this loads no weights."""
        return [module for module in self._model.modules() if isinstance(module, kind)]

    @contextmanager
    def with_hooks(self, local_training: LocalTraining) -> Iterator[None]:
        """Add hooks (not phases) to those of every :meth:`fit` in this block.

        An algorithm that delegates training to another one takes part in it this way.
        """
        self._added.append(local_training)
        try:
            yield
        finally:
            self._added.remove(local_training)

    def fit(self, round_number: int, local_training: LocalTraining | None = None) -> Fit:
        """Train for the epochs of the settings.

        Args:
            round_number: seeds all randomness, together with the seed and the client's name.
            local_training: the algorithm's changes.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite; names client, round and batch.
        """
        self._weights.changed()
        self.last_fit = self._trained(round_number, [local_training or LocalTraining(), *self._added])
        return self.last_fit

    def _trained(self, round_number: int, all_hooks: Sequence[LocalTraining]) -> Fit:
        """Train by the hooks, and by the phases of the first of them."""
        stream = (self.seed, self.client.name, round_number, "train")
        train = self.task.setup_client(self.client.train)
        order = generator(*stream)
        steps, epoch = 0, EpochLosses()
        with fork_rng(self.device, derive_seed(*stream)), deterministic(self.device):
            self.model.train()
            for phase in all_hooks[0].phases or (Phase(self.settings.epochs),):
                with trained_alone(self.trainable, phase.names) as weights:
                    optimizer = make_optimizer(self.settings, self.learning_rate, list(weights.values()))
                    for _ in range(phase.epochs):
                        begin_epoch()
                        epoch = EpochLosses()
                        for hooks in all_hooks:
                            if hooks.on_epoch is not None:
                                hooks.on_epoch()
                        batches = shuffled_batches(len(train), self.settings.batch_size, order)
                        for batch in self._batches(train, batches, order):
                            epoch.record(batch, *self._step(batch, weights, optimizer, all_hooks))
                        self._check_finite(epoch, lambda place: f"in round {round_number}, batch {place}", steps)
                        steps += len(epoch.objectives)
        self.measure_statistics(round_number)
        return Fit(len(train), steps, epoch.loss())

    def _step(
        self,
        batch: Batch,
        weights: dict[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        all_hooks: Sequence[LocalTraining],
    ) -> tuple[Tensor, Tensor]:
        """Take one optimiser step; return the minimised loss and the task's own."""
        for weight in weights.values():
            weight.grad = None  # frees memory for the forward pass
        output = self.output(batch)
        loss = self.task.loss(output.prediction, batch)
        objective = objective_of(loss, output, batch, all_hooks)
        objective.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip_norm:
            torch.nn.utils.clip_grad_norm_(weights.values(), self.settings.clip_norm)
        change_gradients(weights, all_hooks)
        optimizer.step()
        for hooks in all_hooks:
            if hooks.on_batch is not None:
                hooks.on_batch(output, batch)
        return objective.detach(), loss.detach()

    def output(self, batch: Batch) -> Output:
        """Run the model on a batch at the precision of the settings; the output is float32."""
        with autocast(self.device, self.settings.precision), can_normalise(self._who):
            output: Output = self.model(batch)
        return output._replace(prediction=as_float32(output.prediction), features=output.features.float())

    def _batches(
        self, examples: Subset, batches: Iterable[Tensor], augmented: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yield the examples of each batch's rows on the model's device; with a generator, augmented by it."""
        for rows in batches:
            check_interrupts()
            batch = examples.batch(rows)
            batch = self.task.prepare_batch(batch if augmented is None else self.task.augment(batch, augmented))
            yield to_device({**batch, PATIENT: examples.patient_numbers[rows]}, self.device)

    def measure_statistics(self, round_number: int) -> None:
        """Set the statistics of batch normalisation, if any, to those of the training images without augmentation.

        With ``statistics = "running"`` it does nothing.
        """
        if self.settings.statistics == "running" or not layers_with_statistics(self.model):
            return
        self._weights.changed()
        order = generator(self.seed, self.client.name, round_number, "statistics")
        train, forward = self.client.train, self.model.measured
        with measured_statistics(self.model), deterministic(self.device):
            for batch in self._batches(train, even_batches(len(train), self.settings.batch_size, order)):
                with autocast(self.device, self.settings.precision), can_normalise(self._who):
                    forward(batch)

    @property
    def _who(self) -> str:
        return f"Client {self.client.name!r}"

    @property
    def lacks_statistics(self) -> bool:
        """Whether personal statistics of batch normalisation are older than the weights that they depend on.

        They were measured when this client last trained, and are valid if everything they depend on is personal too.
        """
        buffers = dict(self.model.named_buffers())
        if not any(name in self.personal for name in buffers if name.endswith("running_mean")):
            return False
        measured = all(count > 0 for name, count in buffers.items() if name.endswith("num_batches_tracked"))
        return not (measured and self.personal.issuperset(self.model.sources_of_statistics))

    def evaluate(self, split: Literal["train", "validation", "test"]) -> Scores:
        """Score the model on one of the client's splits.

        Raises:
            NonFiniteLossError: the loss is NaN or infinite; names client and split.
        """
        metric, epoch = self.task.metric(self.client.train), EpochLosses()
        with torch.inference_mode(), deterministic(self.device):
            for batch, output in self.predict(getattr(self.client, split)):
                loss = self.task.loss(output.prediction, batch)
                epoch.record(batch, loss, loss)
                metric.update(output.prediction, batch)
            self._check_finite(epoch, lambda _: f"on its {split} data")
            scores = metric.compute()
        return Scores({**scores.numbers, "loss": epoch.loss()}, scores.tables)

    def _check_finite(self, epoch: EpochLosses, where: Callable[[int], str], before: int = 0) -> None:
        check_finite(epoch.objectives, self.client.name, self.settings.learning_rate, where, before)

    @torch.inference_mode()
    def predict(self, examples: Subset, places: Tensor | None = None) -> Iterator[tuple[Batch, Output]]:
        """Yield the examples, or those at ``places``, in batches with their outputs, in evaluation mode.

        Batches as in training, but of 64 at most: larger ones do not fit a processor's cache.
        """
        self.model.eval()
        all_places, size = torch.arange(len(examples)), min(self.settings.batch_size, 64)
        for rows in torch.split(all_places if places is None else places, size):
            check_interrupts()
            batch = to_device(self.task.prepare_batch(examples.batch(rows)), self.device)
            yield batch, self.output(batch)
