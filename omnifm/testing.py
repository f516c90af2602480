"""A conformance suite for algorithms, as scikit-learn's ``check_estimator`` is for estimators."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from omnifm.algorithms import registry
from omnifm.algorithms.algorithm import Algorithm
from omnifm.algorithms.composition import BuildContext, ComposedAlgorithm
from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.omnifm import OmniFM
from omnifm.callbacks.callback import Callback
from omnifm.callbacks.events import CheckpointEvent
from omnifm.config.checking import checked
from omnifm.config.experiment import make_experiment
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import Broadcast, ClientState, Record, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.data.federated_dataset import load_dataset
from omnifm.data.source import Loading
from omnifm.data.subset import SourceTable
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import Arm, make_arm
from omnifm.tasks.registry import DEFAULT
from omnifm.utils.errors import ExperimentError

AnyRecord = TypeVar("AnyRecord", bound=Record)
_NAME = "checked"
_BARE_ADAPTER = {"use": "on", "retrieval": False, "keys": "fixed", "alignment": 0.0}


def check_algorithm(algorithm: Algorithm, *, neutral: Algorithm | None = None) -> None:
    """Check that an algorithm keeps the contract of :class:`~omnifm.algorithms.algorithm.Algorithm`; takes seconds.

    It runs a few rounds on a tiny data set of three clients, the last of which misses the first round. If the
    algorithm has settings with which it is FedAvg, give it with these as ``neutral``.

    Raises:
        AssertionError: a check has failed; says what was found and what the contract asks.
    """
    _check_settings(algorithm)
    seen = _Observer(_arm(algorithm))
    _by_hand(seen.arm, observe=seen)
    first, *_, last = _in_process(_personal(algorithm))
    with _other_seeds():
        again = _in_process(_personal(algorithm))[-1]
    _same(again, last, "the same run a second time", "Draw from generators made by derive_seed; keep nothing global")
    resumed = _in_process(_personal(algorithm), start=_through_bytes(first))[-1]
    _same(resumed, last, "a run resumed after its first round", "Keep all state in ServerState and ClientState")
    two = _in_process(_personal(algorithm), workers=2)[-1]
    _same(two, last, "a run in two worker processes", "Keep all state in ServerState and ClientState")
    whole, stored = _by_hand(_personal(algorithm)), _by_hand(_personal(algorithm), _record_through_bytes)
    _same(stored, whole, "a run whose records go through bytes", "Put tensors and JSON values only into records")
    if neutral is not None:
        plain = {"training": {"momentum": 0.0}} if neutral.plain_sgd else {}
        found, fedavg = _in_process(_arm(neutral))[-1], _in_process(_arm(FedAvg(), **plain))[-1]
        _same_tensors(found.server.shared, fedavg.server.shared, f"The shared weights of {neutral} and of FedAvg")
    if last.server.shared and not (isinstance(algorithm, ComposedAlgorithm) or algorithm.pools_data):
        _check_as_base(algorithm)


def _check_settings(algorithm: Algorithm) -> None:
    """Its settings are those of a frozen dataclass, and an experiment refuses what does not fit."""
    kind: Any = type(algorithm)
    frozen = hasattr(kind, "__dataclass_params__") and kind.__dataclass_params__.frozen
    _ensure(frozen, f"{kind.__name__} must be a frozen dataclass: put @dataclass(frozen=True) directly above it.")
    lacking = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory]  # both MISSING
    if isinstance(algorithm, ComposedAlgorithm):
        return  # other settings build it
    _ensure(not lacking, f"Every setting needs a default: {', '.join(lacking)} of {kind.__name__} has none.")
    wrong: dict[str, Any] = {f"{_NAME} is no setting": 1}
    numbers = [f.name for f in dataclasses.fields(kind) if isinstance(getattr(algorithm, f.name), float)]
    for key, value in {**wrong, **dict.fromkeys(numbers, float("nan"))}.items():
        try:
            checked(kind, {key: value}, (_NAME,))
        except ExperimentError:
            continue
        raise AssertionError(f"{kind.__name__} takes {key!r} = {value}: annotate its settings with what they may be.")


def _check_as_base(algorithm: Algorithm) -> None:
    """OmniFM upon it, with a bank that has no influence, moves the shared weights as it does alone."""
    alone = _in_process(_arm(algorithm, adapter=_BARE_ADAPTER))[-1].server
    try:
        upon = _in_process(_arm(OmniFM(deepcopy(algorithm)), adapter=_BARE_ADAPTER))[-1].server
    except Exception as error:
        remedy = "Add to a record's fields, as in replace(state, notes={**state.notes, ...}), and drop nothing"
        raise AssertionError(f"OmniFM fails with it as base: {type(error).__name__}: {error}. {remedy}.") from error
    what = "as omnifm.base and alone, with the bank switched off"
    _same_tensors(upon.shared, alone.shared, f"The shared weights {what}")
    memory = {n: v for n, v in upon.memory.items() if not n.startswith(("bank.", "circle."))}
    _same_tensors(memory, alone.memory, f"Memory {what}")


class _Observer:
    """Looks at what travels in each round, and at what the server makes of it."""

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        self._forms: dict[str, dict[str, tuple[torch.dtype, int]]] = {}

    def __call__(
        self,
        before: ServerState,
        sent: Broadcast,
        uploads: Sequence[Upload],
        clients: Mapping[str, ClientState],
        after: ServerState,
    ) -> None:
        """Check one round."""
        runtime = self.arm.runtime
        kept = {name: clients[name].personal.keys() for name in clients}
        for name, found in kept.items():
            lost = sorted(runtime.personal - found)
            _ensure(not lost, f"{name} does not keep its personal tensors: {lost} are not in ClientState.personal.")
        self._form("broadcast", sent)
        for upload in uploads:
            self._form("upload", upload)
            self._stays(upload, clients[upload.client])
            try:
                self.arm.algorithm.check(upload, sent)
            except ValueError as error:
                raise AssertionError(f"check() refuses the algorithm's own upload: {error}.") from error
        for name in before.shared.keys() - runtime.weights.trainable:
            values = [u.change[name] for u in uploads]
            _check_buffer(name, before.shared[name], values, after.shared[name])
        _ensure(after.round == before.round + 1, f"After round {sent.round}, ServerState.round is {after.round}.")

    def _form(self, what: str, record: Record) -> None:
        form = {name: (value.dtype, value.dim()) for name, value in record.pack()[0].items()}
        known = self._forms.setdefault(what, form)
        odd = sorted(name for name in known.keys() | form.keys() if known.get(name) != form.get(name))
        _ensure(not odd, f"Every {what} must have tensors of the same names and types; {odd} come and go, or change.")

    def _stays(self, upload: Upload, state: ClientState) -> None:
        for name, value in upload.pack()[0].items():
            for own, secret in state.personal.items():
                copied = value.is_floating_point() and value.shape == secret.shape and torch.equal(value, secret)
                _ensure(not copied, f"The upload of {upload.client} holds the personal tensor {own!r}, as {name!r}.")


def _check_buffer(name: str, before: Tensor, changes: Sequence[Tensor], after: Tensor) -> None:
    if not before.is_floating_point():
        taken = after.dtype == before.dtype and any(torch.equal(after, value) for value in changes)
        _ensure(taken, f"The integer buffer {name!r} is {after}: it must be one client's value, as it has no mean.")
        return
    values = torch.stack([before + change for change in changes])
    room = 1e-5 * (1 + values.abs().amax(0))
    within = (after >= values.amin(0) - room) & (after <= values.amax(0) + room)
    _ensure(
        bool(within.all()),
        f"The buffer {name!r} is no mean of the clients' values: only what gradients act on (``trainable`` of init) "
        "may be optimised at the server.",
    )


@dataclass(frozen=True)
class _Stripes:
    """Noise over lying or standing stripes, ``images`` of one modality."""

    kind: str
    images: int

    def load(self, loading: Loading) -> SourceTable:
        label = torch.arange(self.images) % 2
        stripes = (torch.arange(loading.size) // 2 % 2).float().expand(loading.size, loading.size)
        noise = torch.rand(self.images, 1, loading.size, loading.size, generator=torch.Generator().manual_seed(1))
        image = 0.6 * torch.stack([stripes.T, stripes])[label][:, None] + 0.4 * noise
        patients = tuple(f"{self.kind}/{row}" for row in range(self.images))
        modality = (self.kind,) * self.images
        return SourceTable({"image": image, "label": label}, ("lying", "standing"), patients, modality, modality)


def _arm(algorithm: Algorithm, **changes: Any) -> Arm:
    """Put an arm together for a copy of an algorithm, on three clients with 24, 12 and 9 training images."""

    @dataclass(frozen=True)
    class Given:
        def build(self, context: BuildContext) -> Algorithm:
            return deepcopy(algorithm)

    document: dict[str, Any] = {
        "algorithm": _NAME,
        DEFAULT: {"width": 8},
        "training": {"batch_size": 4, "epochs": 1},
        "federation": {"rounds": 3, "evaluate_every": 3, "evaluate": ["before_local_training"], "participation": 0.67},
        "adapter": {"grid": 7, "token_dim": 8, "neighbours": 3},
        "bank": {"prototypes": 3, "min_cluster": 4},
    }
    registry.ALGORITHM_SETTINGS[_NAME] = Given
    try:
        for key, value in changes.items():
            document[key] = {**document[key], **value}
        experiment = make_experiment(document)
        data = replace(experiment.data, size=16, sources=(_Stripes("CT", 40), _Stripes("MRI", 20), _Stripes("PET", 15)))
        return make_arm(experiment, load_dataset(data, experiment.partition, experiment.seed))
    finally:
        del registry.ALGORITHM_SETTINGS[_NAME]


def _personal(algorithm: Algorithm) -> Arm:
    """Put an arm together in which the normalisation stays at the clients."""
    return _arm(algorithm, federation={"personal": ["norm"]})


class _Checkpoints(Callback):
    def __init__(self) -> None:
        self.found: list[Checkpoint] = []

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Keep it, and the clients' states with it."""
        self.found.append(replace(event.checkpoint, clients=dict(event.checkpoint.clients)))


def _in_process(arm: Arm, workers: int = 1, start: Checkpoint | None = None) -> list[Checkpoint]:
    """Run an arm, from a checkpoint or from the beginning; return the checkpoint after each round."""
    kept = _Checkpoints()
    with InProcess(arm.runtime, workers) as engine:
        arm.federation(engine, [kept]).run(start or arm.start())
    return kept.found


def _by_hand(
    arm: Arm, kept: Callable[[Any], Any] = lambda record: record, observe: Callable[..., None] = lambda *round_: None
) -> Checkpoint:
    """Run three rounds without an engine, the last client absent in the first."""
    server, clients, algorithm = arm.start().server, dict[str, ClientState](), arm.algorithm
    for names in (arm.participants[:-1] or arm.participants, arm.participants, arm.participants):
        server = kept(server)
        sent, uploads = kept(algorithm.broadcast(server)), []
        for name in names:
            received = sent.with_message(algorithm.message(server, name))
            upload, state = arm.runtime.update(received, name, clients.get(name, ClientState()))
            clients[name] = kept(state)
            uploads.append(kept(upload))
        after = algorithm.server_update(server, uploads)
        observe(server, sent, uploads, clients, after)
        server = after
    return Checkpoint(server, clients)


def _record_through_bytes(record: AnyRecord) -> AnyRecord:
    try:
        return type(record).from_bytes(record.to_bytes())
    except (TypeError, ValueError) as error:
        raise AssertionError(f"A {type(record).__name__} cannot be written and read back: {error}.") from error


def _through_bytes(checkpoint: Checkpoint) -> Checkpoint:
    clients = {name: _record_through_bytes(state) for name, state in checkpoint.clients.items()}
    return replace(checkpoint, server=_record_through_bytes(checkpoint.server), clients=clients)


@contextmanager
def _other_seeds() -> Iterator[None]:
    """Let the global generators stand elsewhere in this block."""
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one, which an algorithm might use
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(735)
        random.seed(735)
        np.random.seed(735)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])  # noqa: NPY002


def _same(found: Checkpoint, expected: Checkpoint, what: str, remedy: str) -> None:
    """Hold two checkpoints to be the same to the last bit."""
    records: dict[str, tuple[Record, Record]] = {"ServerState": (found.server, expected.server)}
    _ensure(found.clients.keys() == expected.clients.keys(), f"Not the same clients have a state after {what}.")
    records |= {f"the ClientState of {name}": (found.clients[name], state) for name, state in expected.clients.items()}
    for where, (one, other) in records.items():
        (tensors, plain), (wanted, words) = one.pack(), other.pack()
        _same_tensors(tensors, wanted, f"After {what}, {where}", f" {remedy}.")
        _ensure(plain == words, f"After {what}, notes of {where} differ: {plain}, not {words}. {remedy}.")


def _same_tensors(found: Tensors, expected: Tensors, what: str, remedy: str = "") -> None:
    names = found.keys() | expected.keys()
    both = found.keys() & expected.keys()
    odd = sorted(name for name in names if name not in both or not torch.equal(found[name], expected[name]))
    _ensure(not odd, f"{what}: {len(odd)} tensors differ, {odd[0] if odd else ''!r} first.{remedy}")


def _ensure(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
