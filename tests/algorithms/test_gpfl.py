from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import Quadratic, made_dataset, plain_sgd, same, small_arm
from made_tasks import all_moved, dense_rounds, dense_site, own_trainer, played
from torch import Tensor, nn

from omnifm.algorithms.gpfl import GPFL, CategoryGuide
from omnifm.core.records import Broadcast, ClientState, ServerState
from omnifm.core.tensors import Tensors
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.runs.arm import Arm
from omnifm.tasks import registry
from omnifm.tasks.task import Encoded, TaskNetwork
from omnifm.training.model import FederatedModel, Output
from omnifm.training.trainer import Trainer
from omnifm.utils.errors import ExperimentError

EMBEDDING = "companion.embedding.weight"
HEADS = {"network.head.weight", "network.head.bias"}


class Two(TaskNetwork):
    """Its features are the image's own two channels, its head their sum and their difference."""

    width = 2
    pooled = True

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2, bias=False)
        self.head.load_state_dict({"weight": torch.tensor([[1.0, 1.0], [1.0, -1.0]])})

    def encode(self, batch: Batch) -> Encoded:
        return Encoded(batch["image"].flatten(2).transpose(1, 2))

    def decode(self, tokens: Tensor, context: Any, batch: Batch) -> Tensor:
        return self.head(tokens.mean(dim=1))


class Labelled(Quadratic):
    """Two classes, which only the algorithm hears of: the loss of its own is always 0."""

    classes = 2

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        return 0 * prediction.sum()

    def labels(self, batch: Batch) -> Tensor:
        return batch["label"][:, None]


def by_hand() -> Tensors:
    """Return a guide that can be reckoned: embeddings e_0 = (1, 0) and e_1 = (0, 2).

    Of a condition (a, b) layer normalisation makes (1, -1) where a > b, else (-1, 1) (times 100 before, so that its
    epsilon does not count); of this the scale keeps all, and the shift half.
    """
    guide = {"embedding.weight": torch.tensor([[1.0, 0.0], [0.0, 2.0]])}
    for name, share in (("scale", 1.0), ("shift", 0.5)):
        guide |= {f"{name}.0.weight": 100 * torch.eye(2), f"{name}.0.bias": torch.zeros(2)}
        guide |= {f"{name}.2.weight": torch.full((2,), share), f"{name}.2.bias": torch.zeros(2)}
    return {f"companion.{name}": value for name, value in guide.items()}


def two_trainer(labels: list[int], settings: GPFL | None = None, **training: Any) -> Trainer:
    """Return a trainer of a client with these labels, its guide as above."""
    network, task, gpfl = Two(), Labelled(), settings or GPFL()
    fields = {"image": torch.ones(len(labels), 2, 1, 1), "label": torch.tensor(labels)}
    fields["target"] = torch.zeros(len(labels))
    examples = Subset(fields, tuple(map(str, range(len(labels)))))
    client = ClientData("a", "a", examples, examples, examples)
    model = FederatedModel(network, None, gpfl.companion(network, task))
    return Trainer(model, task, client, plain_sgd(0.1, **training), frozenset({"network.head.weight"}), 0)


def received(labels: list[int], settings: GPFL | None = None, **training: Any) -> Trainer:
    trainer = two_trainer(labels, settings, **training)
    (settings or GPFL()).receive(Broadcast(1, by_hand()), ClientState(), trainer)
    return trainer


def guide_of(trainer: Trainer) -> CategoryGuide:
    assert isinstance(trainer.model.companion, CategoryGuide)
    return trainer.model.companion


def test_conditions_by_hand() -> None:
    guide = guide_of(received([0, 0, 0, 1]))
    # Three quarters of e_0 = (1, 0) and one of e_1 = (0, 2); g is their plain mean.
    assert guide.own.tolist() == [0.75, 0.5]
    assert guide.general.tolist() == [0.5, 1.0]
    assert guide.received.tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_rows_without_a_class_do_not_count_in_the_conditions() -> None:
    assert guide_of(received([0, -1, 1, -1, -1])).own.tolist() == [0.5, 1.0]
    assert guide_of(received([-1, -1])).own.tolist() == [0.0, 0.0]


def test_the_valve_by_hand() -> None:
    guide = guide_of(received([0, 0, 0, 1]))
    features = torch.tensor([[[1.0, 2.0]], [[-3.0, -1.0]]])
    # Under g = (0.5, 1) the scale is (-1, 1) + 1 = (0, 2) and the shift (-0.5, 0.5).
    general = guide.valve(features, guide.general)
    # Under p = (0.75, 0.5) they are (2, 0) and (0.5, -0.5); what is negative becomes 0.
    own = guide(features)
    torch.testing.assert_close(general, torch.tensor([[[0.0, 4.5]], [[0.0, 0.0]]]), rtol=0, atol=1e-3)
    torch.testing.assert_close(own, torch.tensor([[[2.5, 0.0]], [[0.0, 0.0]]]), rtol=0, atol=1e-3)


def test_only_a_pooled_network_has_its_features_averaged() -> None:
    features = torch.rand(2, 5, 3)
    pooled, dense = (CategoryGuide(4, 3, pooled=pooled) for pooled in (True, False))
    dense.load_state_dict(pooled.state_dict())
    assert pooled(features).shape == (2, 1, 3)
    assert dense(features).shape == (2, 5, 3)
    torch.testing.assert_close(pooled(features), dense(features.mean(dim=1, keepdim=True)))


def test_the_head_reads_the_features_under_the_clients_own_condition() -> None:
    trainer = received([0, 0, 0, 1])
    image = torch.tensor([1.0, 2.0])[None, :, None, None]
    output = trainer.model({"image": image})
    # CoV(f, p) = (2.5, 0): its sum and its difference are 2.5.
    assert output.prediction.tolist()[0] == pytest.approx([2.5, 2.5], abs=1e-3)
    assert output.features.tolist() == [[[1.0, 2.0]]]


def term_of(trainer: Trainer, settings: GPFL, features: list[list[float]], labels: list[int]) -> Tensor:
    term = settings.local_training(Broadcast(1, {}), ClientState(), trainer).extra_loss
    assert term is not None
    return term(Output(torch.zeros(1), torch.tensor(features)[:, None], None), {"label": torch.tensor(labels)})


# CoV(f, g) of f = (1, 2) is (0, 4.5): its cosines with e_0 and e_1 are 0 and 1, its distances sqrt(1 + 4.5^2) and 2.5.
FAR = math.sqrt(1 + 4.5**2)


@pytest.mark.parametrize(
    ("labels", "lam", "expected"),
    [
        ([1], 0.0, math.log(1 + math.exp(-1))),
        ([0], 0.0, math.log(1 + math.exp(1))),
        ([1], 0.1, math.log(1 + math.exp(-1)) + 0.25),
        ([0], 0.1, math.log(1 + math.exp(1)) + 0.1 * FAR),
        ([0, 1], 0.1, (math.log(1 + math.exp(1)) + math.log(1 + math.exp(-1)) + 0.1 * (FAR + 2.5)) / 2),
        ([1, -1, -1], 0.1, math.log(1 + math.exp(-1)) + 0.25),
    ],
)
def test_guidance_by_hand(labels: list[int], lam: float, expected: float) -> None:
    trainer, settings = received([0, 0, 0, 1]), GPFL(lam=lam)
    assert term_of(trainer, settings, [[1.0, 2.0]] * len(labels), labels).item() == pytest.approx(expected, abs=1e-3)


def test_cosines_follow_the_embedding_and_distances_do_not() -> None:
    trainer = received([0, 1])
    guide = guide_of(trainer)
    with torch.no_grad():
        guide.embedding.weight.copy_(torch.tensor([[0.0, 7.0], [3.0, 0.0]]))  # the classes change places
    found = term_of(trainer, GPFL(lam=0.1), [[1.0, 2.0]], [1])
    assert found.item() == pytest.approx(math.log(1 + math.exp(1)) + 0.25, abs=1e-3)
    found.backward()
    assert guide.embedding.weight.grad is not None
    assert not guide.received.requires_grad


def test_a_batch_without_classes_has_no_guidance() -> None:
    trainer = received([0, 1])
    found = term_of(trainer, GPFL(), [[1.0, 2.0]] * 2, [-1, -1])
    assert (found.item(), found.shape) == (0.0, ())
    trainer = received([-1, -1, -1])
    fit = trainer.fit(1, GPFL().local_training(Broadcast(1, {}), ClientState(), trainer))
    assert fit.loss == 0


def test_decay_acts_on_embedding_and_valve_alone() -> None:
    # With no class and no loss nothing else acts: w <- w - 0.1 * 0.5 w, twice.
    settings = GPFL(mu=0.5)
    trainer = received([-1, -1], settings, epochs=2)
    before = trainer.tensors()
    trainer.fit(1, settings.local_training(Broadcast(1, {}), ClientState(), trainer))
    for name, value in trainer.tensors().items():
        share = 0.95**2 if name.startswith("companion.") else 1.0
        torch.testing.assert_close(value, share * before[name])


def first_round(arm: Arm) -> tuple[ServerState, Broadcast, dict[str, ClientState]]:
    """Let all take part once; return the state after it, the second broadcast and the clients' states."""
    first = arm.algorithm.broadcast(arm.start().server)
    done = {name: arm.runtime.update(first, name, ClientState()) for name in arm.participants}
    server = arm.algorithm.server_update(arm.start().server, [upload for upload, _ in done.values()])
    return server, arm.algorithm.broadcast(server), {name: state for name, (_, state) in done.items()}


def test_conditions_are_of_the_embedding_that_came_this_round() -> None:
    arm = small_arm("gpfl")
    _, second, states = first_round(arm)
    came = second.shared[EMBEDDING]
    assert not torch.equal(came, arm.runtime.initial[EMBEDDING])
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    for name, shares in (("CT-1", [1 / 2, 1 / 2, 0]), ("CT-2", [1 / 3, 1 / 3, 1 / 3]), ("MRI", [0, 1 / 2, 1 / 2])):
        trainer = own_trainer(arm, name, 2)
        arm.algorithm.receive(second, states[name], trainer)
        guide = guide_of(trainer)
        torch.testing.assert_close(guide.own, torch.tensor(shares) @ came)
        torch.testing.assert_close(guide.general, came.mean(dim=0))
        assert torch.equal(guide.received, came)
        # And they stay so while the embedding is trained.
        seen.append((guide.own.clone(), guide.general.clone(), guide.received.clone()))
        arm.algorithm.client_update(second, states[name], trainer)
        assert not torch.equal(guide.embedding.weight, came)
        after = (guide.own, guide.general, guide.received)
        assert all(torch.equal(one, other) for one, other in zip(seen[-1], after, strict=True))


def test_what_travels_and_what_stays() -> None:
    arm = small_arm("gpfl")
    _, second, states = first_round(arm)
    upload, after = arm.runtime.update(second, "MRI", states["MRI"])
    assert upload.change.keys() == second.shared.keys() == arm.runtime.initial.keys() - HEADS
    parts = {name.split(".")[1] for name in upload.change if name.startswith("companion.")}
    assert parts == {"embedding", "scale", "shift"}
    assert (upload.extra, second.extra) == ({}, {})
    assert after.personal.keys() == HEADS
    assert (after.memory, after.notes) == ({}, {})
    assert not same(states["CT-1"].personal, states["MRI"].personal)


def test_heads_are_not_averaged() -> None:
    arm = small_arm("gpfl", federation={"rounds": 2, "participation": 0.67})
    last = played(arm)
    assert not HEADS & last.server.shared.keys()
    one, other = (last.clients[name].personal["network.head.weight"] for name in list(last.clients)[:2])
    assert not torch.equal(one, other)


def test_a_client_continues_after_a_round_without_it() -> None:
    arm = small_arm("gpfl")
    server, second, states = first_round(arm)
    # MRI rests in round 2.
    server = arm.algorithm.server_update(server, [arm.runtime.update(second, "CT-1", states["CT-1"])[0]])
    third = arm.algorithm.broadcast(server)
    upload, _ = arm.runtime.update(third, "MRI", states["MRI"])
    assert not same(upload.change, arm.runtime.update(third, "MRI", ClientState())[0].change)


def several_labels() -> FederatedDataset:
    """Return the cohort with rows that may bear several labels."""
    dataset = made_dataset()

    def loosened(examples: Subset) -> Subset:
        return examples.with_constant("exclusive", torch.tensor(False))

    clients = [
        replace(c, train=loosened(c.train), validation=loosened(c.validation), test=loosened(c.test))
        for c in dataset.clients
    ]
    return FederatedDataset(tuple(clients), dataset.label_names)


# GPFL has no setting that makes it FedAvg or FedPer. Nearest: rows without a class, no decay, and a valve that is held
# open (scale and shift 0) and not trained. Then body and heads are FedPer's.
def test_an_open_valve_without_classes_is_fedper() -> None:
    arms = [small_arm(name, several_labels(), gpfl={"mu": 0}) for name in ("gpfl", "fedper")]
    companion = arms[0].runtime.model.companion
    assert companion is not None
    for name, value in companion.requires_grad_(False).named_parameters():
        del arms[0].runtime.initial[f"companion.{name}"]  # what no gradient acts on is not sent
        if name.startswith(("scale.2.", "shift.2.")):
            value.zero_()
    gpfl, fedper = map(played, arms)
    assert same({name: gpfl.server.shared[name] for name in fedper.server.shared}, fedper.server.shared)
    assert all(same(state.personal, fedper.clients[name].personal) for name, state in gpfl.clients.items())
    assert not same(fedper.server.shared, arms[1].start().server.shared)


def test_rows_with_several_labels_train_without_guidance() -> None:
    last = played(small_arm("gpfl", several_labels(), training={"weight_decay": 0.0}))
    # Of the embedding the task's loss knows nothing: only the decay acts on it, alike at all clients.
    first = small_arm("gpfl").runtime.initial[EMBEDDING]
    now = last.server.shared[EMBEDDING]
    assert (now / first).std() < 1e-4
    assert 0 < (now / first).mean() < 1


def test_a_task_without_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match="'gpfl' learns an embedding of each class, and this task has no classes"):
        GPFL().companion(Two(), Quadratic())

    def make_task(*arguments: Any) -> Any:
        task = registry.make_task(*arguments)
        network = task.network()
        task.classes, task.network = 0, lambda: network  # type: ignore[method-assign]
        return task

    monkeypatch.setattr("omnifm.runs.arm.make_task", make_task)
    for name in ("gpfl", "omnifm"):
        with pytest.raises(ExperimentError, match="this task has no classes"):
            small_arm(name, omnifm={"base": "gpfl"})


def test_a_dense_task() -> None:
    first, last = dense_rounds(GPFL())
    assert all_moved(first, last)
    assert {"companion.embedding.weight", "companion.scale.0.weight"} < last.server.shared.keys()
    assert last.clients["a"].personal.keys() == HEADS


def test_shares_of_a_dense_task_are_of_positions() -> None:
    runtime = dense_site(GPFL())
    trainer = runtime._trainer("a", 1)
    mask = trainer.client.train.column("mask")
    shares = torch.tensor([float((mask == c).sum()) for c in range(3)]) / float((mask >= 0).sum())
    assert (mask < 0).any()
    runtime.algorithm.receive(Broadcast(1, {}), ClientState(), trainer)
    torch.testing.assert_close(guide_of(trainer).own, shares @ runtime.initial[EMBEDDING])
