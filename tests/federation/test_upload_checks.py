"""Bounds on finite uploads: norms against those of others, one client's share, and results that must be finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch

from omnifm.algorithms.fedavg import FedAvg
from omnifm.algorithms.validation import MOST_SAMPLES
from omnifm.config.experiment import ChecksSettings
from omnifm.core.records import Broadcast, ServerState, Upload
from omnifm.core.tensors import Tensors, total_norm
from omnifm.federation.upload_checks import HELD, REMEMBERED, UploadChecks, most_samples, refusal

Sent = Sequence[tuple[str, float]]


def sent_norm(client: str) -> float:
    return 2.0


def upload(client: str, norm: float, samples: int = 10) -> Upload:
    return Upload(client, samples, 0.0, {"w": torch.full((4,), norm / 2), "n": torch.tensor(3)})


def passed(sent: Sent, norms: Sent = (), **settings: float) -> tuple[list[str], dict[str, str], Sent]:
    """Return who passes, who is rejected and why, and the norms afterwards."""
    rejected: dict[str, str] = {}
    checks = UploadChecks(ChecksSettings(**settings), {}, tuple(norms))
    names = [name for name, _ in sent]
    uploads = (upload(name, norm) for name, norm in sent)
    return (
        [one.client for one in checks.passing(uploads, sent_norm, names, rejected.__setitem__)],
        rejected,
        checks.norms,
    )


def test_usual_norms_pass_in_their_order() -> None:
    names, rejected, norms = passed([("a", 1.0), ("b", 5.0), ("c", 0.2), ("d", 9.0)])
    assert names == list("abcd")
    assert not rejected
    assert norms == (("a", 1.0), ("b", 5.0), ("c", pytest.approx(0.2)), ("d", 9.0))


@pytest.mark.parametrize("place", range(3))
def test_a_large_norm_is_rejected_in_the_first_round_wherever_it_comes(place: int) -> None:
    sent = [("a", 1.0), ("b", 1.5)]
    sent.insert(place, ("x", 80.0))
    names, rejected, norms = passed(sent)
    assert names == ["a", "b"]
    assert "far above those of others" in rejected["x"]
    assert dict(norms) == {"a": 1.0, "b": 1.5}


def test_a_tiny_norm_shuts_nobody_out() -> None:
    assert passed([("x", 1e-30), ("a", 1.0), ("b", 1.5)])[0] == ["x", "a", "b"]
    assert passed([("a", 1.0), ("b", 1.5), ("x", 0.0)])[0] == ["a", "b", "x"]


def test_later_rounds_compare_with_the_norms_of_others() -> None:
    before = [("a", 1.0), ("x", 1.0), ("b", 1.0)]
    names, rejected, _ = passed([("x", 31.0)], before)
    assert not names
    assert passed([("x", 29.0)], before)[0] == ["x"]
    assert set(rejected) == {"x"}


def test_a_client_that_stays_apart_counts_when_the_norms_of_others_fall() -> None:
    before = [("a", 1.0), ("x", 2.0), ("b", 1.0)]
    names, rejected, norms = passed([("a", 0.01), ("b", 0.01), ("x", 1.9), ("y", 31.0)], before)
    assert (names, set(rejected)) == (["a", "b", "x"], {"y"})
    assert norms == (("a", 1.0), ("b", 1.0), ("x", 2.0))


def test_only_the_last_clients_are_remembered() -> None:
    before = [(f"c{number}", 1.0) for number in range(REMEMBERED)]
    assert passed([("new", 2.0)], before)[2] == (*before[1:], ("new", 2.0))


def test_own_large_norms_raise_no_bound() -> None:
    assert not passed([("x", 31.0)], [("x", 29.0)] * 9 + [("a", 1.0), ("b", 1.0)])[0]


def test_with_nobody_to_compare_with_the_weights_bound_the_change() -> None:
    assert passed([("a", 89.0)])[0] == ["a"]  # 30 x (1 + 2)
    assert "above 90" in passed([("a", 91.0)])[1]["a"]
    assert not passed([("a", 1e30), ("b", 1.0)])[1].keys() - {"a"}


def test_zero_switches_the_bound_off() -> None:
    assert passed([("a", 1.0), ("b", 1.0), ("x", 1e6)], max_norm=0.0)[0] == ["a", "b", "x"]


def test_no_more_than_a_few_uploads_wait() -> None:
    waiting: list[int] = []
    given = 0

    def sent() -> Iterator[Upload]:
        nonlocal given
        for number in range(3 * HELD):
            given += 1
            yield upload(f"c{number}", 1.0)

    checks = UploadChecks(ChecksSettings(), {}, ())
    for counted, _ in enumerate(checks.passing(sent(), sent_norm, ["c"] * 3 * HELD, lambda *_: None), 1):
        waiting.append(given - counted)
    assert max(waiting) == HELD
    assert waiting[-1] == 0
    assert waiting[HELD + 1 :] == [0] * (2 * HELD - 1)


@pytest.mark.parametrize(
    ("samples", "share", "most"),
    [
        ([10, 10, 10], 0.5, MOST_SAMPLES),
        ([20, 10, 10], 0.5, MOST_SAMPLES),
        ([2**31 - 1, 10, 10], 0.5, 20),
        ([1000, 1000, 10, 10], 0.3, 15),
        ([1000, 10, 5], 0.2, 5),
        ([1000, 10], 0.5, MOST_SAMPLES),
        ([], 0.5, MOST_SAMPLES),
    ],
)
def test_no_client_has_more_than_its_share(samples: list[int], share: float, most: int) -> None:
    assert most_samples(samples, share) == most
    capped = [min(one, most) for one in samples]
    if len(samples) >= 3 and share * len(samples) >= 1:
        assert max(capped) <= share * sum(capped) + 1


def test_the_share_bounds_the_weight_of_an_upload() -> None:
    checks = UploadChecks(ChecksSettings(), {"x": 10**9, "a": 10, "b": 10}, ())
    sent = [upload("x", 1.0, 10**9), upload("a", 1.0), upload("b", 1.0)]
    assert [one.samples for one in checks.passing(sent, sent_norm, "xab", lambda *_: None)] == [20, 10, 10]


def test_the_norm_of_an_upload_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = list[object]()

    def noted(tensors: Tensors) -> float:
        measured.append(tensors)
        return total_norm(tensors)

    monkeypatch.setattr("omnifm.core.records.total_norm", noted)
    sent, broadcast = upload("a", 3.0), Broadcast(1, {"w": torch.zeros(4), "n": torch.tensor(0)})
    FedAvg().check(sent, broadcast)
    assert list(UploadChecks(ChecksSettings(), {}, ()).passing([sent], sent_norm, "a", lambda *_: None)) == [sent]
    assert len(measured) == 1
    assert sent.norm == 3.0
    assert replace(sent, change={"w": torch.full((4,), 2.0)}).norm == 4.0


def test_what_is_not_finite_is_refused() -> None:
    state = ServerState({"w": torch.ones(3), "n": torch.tensor(1)}, memory={"m": torch.zeros(2)})
    assert not refusal(state)
    assert "weights" in refusal(replace(state, shared={"w": torch.tensor([1.0, torch.inf])}))
    assert "memory" in refusal(replace(state, memory={"m": torch.tensor([torch.nan])}))
