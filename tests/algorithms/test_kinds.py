from __future__ import annotations

import pytest
from helpers import small_arm

from omnifm.algorithms.kinds import Kind
from omnifm.core.records import ClientState

NORM = "network.backbone.1"


@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold", "omnifm"])
def test_every_tensor_of_an_upload_has_a_kind(algorithm: str) -> None:
    arm = small_arm(algorithm, omnifm={"base": "scaffold", "variant": "paper"})
    upload, _ = arm.runtime.update(arm.algorithm.broadcast(arm.start().server), "CT-1", ClientState())
    kinds = arm.runtime.kinds(upload)
    assert kinds.keys() == upload.pack()[0].keys()
    assert kinds["change/network.head.weight"] is kinds[f"change/{NORM}.weight"] is Kind.PARAMETER
    assert kinds[f"change/{NORM}.running_mean"] is Kind.BUFFER
    assert kinds[f"change/{NORM}.num_batches_tracked"] is Kind.COUNTER
    extra = {name.removeprefix("extra/"): kind for name, kind in kinds.items() if name.startswith("extra/")}
    controls = {name for name in extra if name.startswith("control/")}
    assert bool(controls) == (algorithm != "fedavg")
    assert all(extra[name] is Kind.AUXILIARY for name in controls)
    bank_upload = {name: kind for name, kind in extra.items() if name not in controls}
    counts = dict.fromkeys(("bank/sizes", "bank/rows", "bank/counts"), Kind.COUNT)
    assert bank_upload == ({"bank/prototypes": Kind.PROTOTYPE, **counts} if algorithm == "omnifm" else {})
