from __future__ import annotations

import torch
from helpers import made_dataset, same, small_arm

from omnifm.core.records import ClientState
from omnifm.data.federated_dataset import FederatedDataset, pooled


def test_one_participant_holds_all_training_data() -> None:
    arm = small_arm("centralised")
    assert arm.participants == ("centralised",)
    train = arm.runtime.clients["centralised"].train
    parts = [client.train for client in made_dataset().clients]
    assert torch.equal(train.column("image"), torch.cat([part.column("image") for part in parts]))


def test_every_hospital_is_judged_by_itself() -> None:
    assert small_arm("centralised").evaluated == ("CT-1", "CT-2", "MRI")


def test_is_fedavg_of_the_one_client() -> None:
    one, other = (
        small_arm("centralised"),
        small_arm("fedavg", FederatedDataset((pooled(made_dataset()),), ("a", "b", "c"))),
    )
    ends = []
    for arm in (one, other):
        server = arm.start().server
        upload, _ = arm.runtime.update(arm.algorithm.broadcast(server), "centralised", ClientState())
        assert upload.samples == 24 + 18 + 12
        ends.append(arm.algorithm.server_update(server, [upload]).shared)
    assert same(*ends)
