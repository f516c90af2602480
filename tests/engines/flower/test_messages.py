"""Letters go through bytes and back, and what is none is told from what is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import same_record

from omnifm.core.records import Broadcast, Upload
from omnifm.core.serialization import TensorBuffer
from omnifm.data.client_stats import ClientStats
from omnifm.engines.flower.messages import ClientProperties, EvaluationResult, Reply, Request
from omnifm.tasks.task import DataShape, Scores


def test_a_request_goes_through_bytes() -> None:
    broadcast = Broadcast(3, {"w": torch.arange(3.0)}, {"bank": torch.zeros(0, 0)}, {"owners": ["a"]})
    request = Request(
        "r",
        "fedavg",
        7,
        {"seed": 1},
        weights="",
        labels=("x", "y"),
        vocabulary=(),
        state="d",
        keep=("d",),
        evaluations=(("test", "before_local_training"),),
        train=True,
        broadcast=broadcast,
    )
    back = Request.from_bytes(request.to_bytes())
    assert back.broadcast is not None
    assert same_record(back.broadcast, broadcast)
    assert (back.evaluations, back.labels, back.state, back.train) == (
        (("test", "before_local_training"),),
        ("x", "y"),
        "d",
        True,
    )
    assert Request.from_bytes(Request("r", "a", 1, {}).to_bytes()) == Request("r", "a", 1, {})


def test_a_packed_broadcast_gives_the_same_bytes_and_is_not_packed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    broadcast = Broadcast(3, {"w": torch.arange(3.0), "batches": torch.tensor(7)})
    whole = Request("r", "fedavg", 7, {}, broadcast=broadcast).to_bytes()
    packed = broadcast.to_bytes()
    monkeypatch.setattr(Broadcast, "to_bytes", lambda self: pytest.fail("packed again"))
    assert Request("r", "fedavg", 7, {}).to_bytes({"broadcast": packed}) == whole


def test_a_message_reaches_its_hospital_with_the_broadcast() -> None:
    broadcast = Broadcast(3, {"w": torch.arange(3.0)}, {"common": torch.ones(1)}, {"owners": ["a"]})
    message = Broadcast(3, {}, {"own": torch.tensor([5, 6])})
    request = Request.from_bytes(Request("r", "a", 1, {}, broadcast=broadcast, message=message).to_bytes())
    assert request.received is not None
    assert same_record(request.received, broadcast.with_message(message.extra))
    alone = Request.from_bytes(Request("r", "a", 1, {}, broadcast=broadcast).to_bytes())
    assert alone.received is alone.broadcast
    assert Request("r", "a", 1, {}).received is None


def test_tensors_lie_where_torch_would_lay_them() -> None:
    records = (Broadcast(1, {"a": torch.ones(3), "b": torch.ones(1)}), Broadcast(1, {}, {"c": torch.ones(5)}))
    back = Request.from_bytes(Request("r", "a", 1, {"x": 1}, broadcast=records[0], message=records[1]).to_bytes())
    assert back.received is not None
    assert {value.data_ptr() % 64 for value in back.received.pack()[0].values()} == {0}


def test_a_reply_goes_through_bytes() -> None:
    upload = Upload("CT", 4, 0.25, {"w": torch.ones(2)}, notes={"group": "CT"})
    scores = Scores({"accuracy": 0.1 + 0.2, "auc": float("nan")}, {"confusion": np.array([[1, 2], [3, 4]])})
    told = ClientProperties(
        ClientStats("CT", "CT", 6, 2, 2),
        DataShape(1, (16, 16), ("a", "b")),
        channels=1,
        axes=2,
        versions={"omnifm": "0"},
    )
    reply = Reply(
        "CT",
        "done",
        "",
        introduction=told,
        state="d",
        evaluations=(EvaluationResult.of("validation", "before_local_training", scores),),
        seconds={"load": 0.1},
        upload=upload,
    )
    back = Reply.from_bytes(reply.to_bytes())
    assert back.upload is not None
    assert same_record(back.upload, upload)
    assert back.introduction == told
    found = back.evaluations[0].scores
    assert found.numbers["accuracy"] == 0.1 + 0.2
    assert np.isnan(found.numbers["auc"])
    assert (found.tables["confusion"] == scores.tables["confusion"]).all()
    assert found.tables["confusion"].dtype == np.int64


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"client": "CT"}, "outcome: Field required"),
        ({"client": 3, "outcome": "done"}, "client: Input should be a valid string"),
        ({"client": "CT", "outcome": "won"}, "outcome: Input should be"),
        ({"client": "CT", "outcome": "done", "more": 1}, "more: Unexpected"),
        ({"client": "CT", "outcome": "done", "upload": {"client": "CT"}}, "no Reply"),
        ({"client": "CT", "outcome": "done", "upload": 3}, "no Reply"),
        ({"client": "CT", "outcome": "done", "upload": -64}, "no Reply"),
        ({"client": "CT", "outcome": "done", "upload": 64.0}, "no Reply"),
        ({"client": "CT", "outcome": "done", "upload": 2**40}, "no Reply"),
        ({"client": "CT", "outcome": "done", "upload": 0}, "safetensors"),
    ],
)
def test_what_is_no_reply_is_reported(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reply.from_bytes(bytes(TensorBuffer({}, plain).to_bytes()))


@pytest.mark.parametrize("data", [b"", b"nothing", bytes(100), Reply("a", "done").to_bytes()[:60]])
def test_bytes_that_are_none_are_reported(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Reply.from_bytes(data)
