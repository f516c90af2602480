"""A hospital that took no part, with images only, after a federation of two kinds of hospitals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from alike import dataset_of_kinds, hospital
from helpers import federated, same, small_arm

from omnifm.algorithms.placement import nearest_circle
from omnifm.core.records import ServerState
from omnifm.core.tensors import strip_prefix
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.export.newcomer import newcomer_model
from omnifm.runs.arm import Arm
from omnifm.spectral.adapter import AdapterSettings, SpectralAdapter
from omnifm.spectral.bank import BankSettings, KnowledgeBank, Prototypes
from omnifm.utils.errors import ExperimentError

STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


@pytest.fixture(scope="module")
def dataset() -> FederatedDataset:
    return dataset_of_kinds()


def arm_of(dataset: FederatedDataset, **omnifm: Any) -> Arm:
    bank = {"prototypes": 3, "min_cluster": 4, "rounded": False}  # eight numbers are too few to be rounded
    settings = {"federation": {"rounds": 4, "evaluate_every": 4}, "omnifm": {"personal": ["statistics"], **omnifm}}
    return small_arm("omnifm", dataset, bank=bank, **settings)


@pytest.fixture(scope="module")
def arm(dataset: FederatedDataset) -> Arm:
    return arm_of(dataset)


@pytest.fixture(scope="module")
def server(arm: Arm) -> ServerState:
    return federated(arm)[-1].server


def batch_of(kind: str) -> dict[str, torch.Tensor]:
    return hospital(f"{kind}-new", kind, 17).train.whole()


@pytest.mark.parametrize(("kind", "circle"), [("fine", 0), ("coarse", 1)])
def test_its_images_find_its_circle(arm: Arm, server: ServerState, kind: str, circle: int) -> None:
    model, placement = newcomer_model(arm, server, batch_of(kind))
    assert placement.members == (f"{kind}-1", f"{kind}-2")
    assert placement.share > 0.5
    assert f"{kind}-1, {kind}-2 (" in str(placement)
    weights = strip_prefix(f"circle.{circle}", server.memory)
    own = model.state_dict()
    assert same({name: own[name] for name in weights if name.rsplit(".", 1)[-1] not in STATISTICS}, weights)


def test_a_small_circle_is_found_beside_a_large_one() -> None:
    """However many prototypes the others have: an image retrieves more entries than a small circle has."""
    adapter = SpectralAdapter(AdapterSettings(keys="fixed"), 1, 2, 8)
    chance = torch.Generator().manual_seed(0)
    images = {kind: torch.rand(40, 1, 32, 32, generator=chance) for kind in ("mr", "ct")}
    images["ct"] = images["ct"].round().flip(2) * torch.linspace(0, 1, 32)
    with torch.no_grad():
        keys = {kind: adapter.keys_of(some) for kind, some in images.items()}
    entries = {kind: F.normalize(some.mean(dim=0), dim=0) for kind, some in keys.items()}
    owners = ["mr-1", "mr-2", *(f"ct-{number}" for number in range(10))]
    bank = KnowledgeBank.empty()
    for owner in owners:
        tokens = entries[owner[:2]].unsqueeze(0)
        bank = bank.merge([Prototypes(owner, owner[:2], tokens, torch.tensor([20]))], 0.0)
    circle_of = {owner: int(owner.startswith("ct")) for owner in owners}
    placement = nearest_circle(adapter, bank, BankSettings(), circle_of, images["mr"])
    assert placement.members == ("mr-1", "mr-2")


def test_it_is_like_a_circle_as_near_as_its_members(arm: Arm, server: ServerState) -> None:
    _, placement = newcomer_model(arm, server, batch_of("coarse"))
    assert placement.alike
    assert str(placement).startswith("it is like coarse-1, coarse-2 (")


def test_where_nobody_is_like_it_the_nearest_are_named(arm: Arm, server: ServerState) -> None:
    images = torch.rand(24, 1, 16, 16, generator=torch.Generator().manual_seed(3)).round()
    _, placement = newcomer_model(arm, server, {"image": images})
    assert placement.members
    assert not placement.alike
    assert str(placement).startswith("nobody is like it; the nearest are ")


def test_statistics_are_those_of_its_images(arm: Arm, server: ServerState) -> None:
    model, _ = newcomer_model(arm, server, batch_of("fine"))
    other, _ = newcomer_model(arm, server, {**batch_of("fine"), "image": batch_of("fine")["image"] * 0.5})
    means = [net.state_dict()["network.backbone.1.running_mean"] for net in (model, other)]
    assert not torch.allclose(*means)
    assert not model.training


def test_the_arm_itself_is_left_as_it_was(arm: Arm, server: ServerState) -> None:
    before = {name: value.clone() for name, value in arm.runtime.model.state_dict().items()}
    newcomer_model(arm, server, batch_of("fine"))
    assert same(before, dict(arm.runtime.model.state_dict()))


def test_before_there_are_circles_it_gets_what_all_share(dataset: FederatedDataset) -> None:
    arm = arm_of(dataset, circle=[])
    model, placement = newcomer_model(arm, arm.start().server, batch_of("fine"))
    assert placement.members == ()
    assert str(placement).startswith("there are no circles")
    assert model.state_dict()


def test_while_all_are_alone_there_is_no_model_for_it(arm: Arm) -> None:
    with pytest.raises(ExperimentError, match="No circle takes it"):
        newcomer_model(arm, arm.start().server, batch_of("fine"))


def test_what_stays_with_others_cannot_be_given(dataset: FederatedDataset) -> None:
    arm = arm_of(dataset, personal=["norm"])
    with pytest.raises(ExperimentError, match=r"stays with the clients.*omnifm.personal = \['statistics'\]"):
        newcomer_model(arm, federated(arm)[-1].server, batch_of("fine"))
