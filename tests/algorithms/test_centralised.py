from __future__ import annotations

import torch
from helpers import made_cohort, same, small_arm

from omnifm.algorithms.state import ClientState
from omnifm.data.cohort import Cohort, pooled


def test_one_participant_holds_all_training_data() -> None:
    arm = small_arm("centralised")
    assert arm.participants == ("centralised",)
    train = arm.site.clients["centralised"].train
    parts = [client.train for client in made_cohort().clients]
    assert torch.equal(train.column("image"), torch.cat([part.column("image") for part in parts]))


def test_every_hospital_is_judged_by_itself() -> None:
    assert small_arm("centralised").judged == ("CT-1", "CT-2", "MRI")


def test_is_fedavg_of_the_one_client() -> None:
    one, other = small_arm("centralised"), small_arm("fedavg", Cohort((pooled(made_cohort()),), ("a", "b", "c")))
    ends = []
    for arm in (one, other):
        server = arm.start().server
        upload, _ = arm.site.update(arm.algorithm.broadcast(server), "centralised", ClientState())
        assert upload.samples == 24 + 18 + 12
        ends.append(arm.algorithm.server_update(server, [upload]).shared)
    assert same(*ends)
