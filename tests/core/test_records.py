from __future__ import annotations

import torch
from helpers import same

from omnifm.core.records import Broadcast, ClientState, ServerState, Upload

TENSORS = {
    "network.weight": torch.tensor([[1.5, -2.0, 3.0]]),
    "network/odd name": torch.tensor(3),
    "empty": torch.zeros(0, 4),
}
MORE = {"bank.tokens": torch.tensor([True, False])}
NOTES = {"group": "CT", "bank": {"clients": ["Žilina"]}, "n": 1.5}

RECORDS = [
    ServerState(TENSORS, 4, MORE, NOTES),
    Broadcast(5, TENSORS, MORE, NOTES),
    Upload("CT-1", 32, 0.5, TENSORS, MORE, NOTES),
    ClientState(TENSORS, MORE, NOTES),
    ClientState(),
    Upload("nothing", 1, 0.0, {}),
]


def test_through_bytes_and_back() -> None:
    for record in RECORDS:
        back = type(record).from_bytes(record.to_bytes())
        assert {**vars(back), **dict.fromkeys(record.TENSORS)} == {
            **vars(record),
            **dict.fromkeys(record.TENSORS),
        }
        for part in record.TENSORS:
            assert same(getattr(back, part), getattr(record, part))


def test_transposed_tensors_travel_too() -> None:
    weight = torch.arange(6.0).view(2, 3).T
    back = ClientState.from_bytes(ClientState({"w": weight}).to_bytes())
    assert torch.equal(back.personal["w"], weight)


def test_bytes_are_no_pickle() -> None:
    data = RECORDS[0].to_bytes()
    assert data[8:9] == b"{"
    assert b"torch" not in data


def test_size_is_that_of_the_tensors() -> None:
    # Three float32 and one int64; two booleans.
    assert Broadcast(1, TENSORS, MORE).size == 3 * 4 + 8 + 2
    assert ClientState().size == 0
