"""A hospital grants what it permits and no more, and writes down what it was asked."""

from __future__ import annotations

import errno
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blake3 import blake3
from helpers import same_record
from messenger import Noise
from visit import RUN, Visit

from omnifm.core.records import Broadcast
from omnifm.engines.flower.audit_entry import circle_text
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.messages import Reply
from omnifm.privacy.secret import ClientSecret, private_generator
from omnifm.privacy.settings import PrivacySettings
from omnifm.runs.arm import build_arm
from omnifm.utils.errors import CheckpointError, DataError, DeploymentError, ExperimentError


def test_it_introduces_itself_by_names_and_numbers(tmp_path: Path) -> None:
    found = Visit(tmp_path).ask().introduction
    assert found is not None
    assert (found.stats.name, found.stats.group, found.stats.train) == ("CT", "CT", 12)
    assert found.shape.label_names == ("left", "right")


def test_it_trains_and_writes_down_what_left(tmp_path: Path) -> None:
    visit = Visit(tmp_path)
    reply = visit.train()
    assert reply.outcome == "done"
    assert reply.upload is not None
    assert reply.upload.samples == 12
    entry = visit.audit_log[-1]
    assert reply.upload is not None
    weights = sum(value.nbytes for value in reply.upload.change.values())
    sizes = reply.upload.extra["bank/sizes"].tolist()
    answer = reply.to_bytes()
    assert {key: value for key, value in entry.items() if key not in ("time", "previous", "request_bytes")} == {
        "run": RUN,
        "arm": "arm",
        "round": 1,
        "outcome": "done",
        "reason": "",
        "trained": True,
        "sent": {"weights": weights, "prototypes": sum(value.nbytes for value in reply.upload.extra.values())},
        "prototypes": len(sizes),
        "fewest_patients": min(sizes),
        "circle": None,
        "circle_rounds": 1,
        "answer_bytes": len(answer),
        "answer_blake3": blake3(answer).hexdigest(),
    }
    assert reply.state is not None
    assert len(list(visit.hospital.state_folder.rglob(f"{reply.state}.safetensors"))) == 1


def test_it_writes_down_its_circle_and_how_long_it_has_been_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visit, state = Visit(tmp_path), None
    caplog.set_level("INFO", "omnifm.deploy")
    for number, circle in enumerate([None, 4, 4, 4, 1], start=1):
        message = None if circle is None else Broadcast(number, {}, {"circle": torch.tensor([circle])})
        reply = visit.train(number, message=message, state=state, keep=(state,) if state else ())
        assert reply.outcome == "done", reply.reason
        assert b"circle" not in reply.to_bytes(), "what it writes down of circles stays at home"
        state = reply.state
    lines = [line for line in visit.audit_log if line["trained"]]
    assert [(line["circle"], line["circle_rounds"]) for line in lines] == [(None, 1), (4, 1), (4, 2), (4, 3), (1, 1)]
    told = [record.getMessage() for record in caplog.records if record.name == "omnifm.deploy"]
    assert told[0] == "CT, arm, round 1: alone, in no circle, for 1 round in a row."
    assert told[3] == "CT, arm, round 4: in circle 4, for 3 rounds in a row."


def test_it_writes_down_how_much_it_accepted() -> None:
    noted = {"circle": 4, "circle_rounds": 3, "accepted": 0.5}
    assert circle_text(noted) == "in circle 4, for 3 rounds in a row; it started from half of what it received"


def test_an_algorithm_without_circles_writes_down_none(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "fedavg")
    visit.train()
    assert not {"circle", "circle_rounds", "accepted"} & visit.audit_log[-1].keys()


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.5, "in circle 2, for 1 round in a row; it started from half of what it received"),
        (0.0, "in circle 2, for 1 round in a row; it started from its own weights alone"),
        (None, "in circle 2, for 1 round in a row"),
    ],
)
def test_what_it_accepted_is_told(share: float | None, text: str) -> None:
    accepted = {} if share is None else {"accepted": share}
    assert circle_text({"circle": 2, "circle_rounds": 1, **accepted}) == text


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"algorithms": ["scaffold"]}, r"The algorithm 'omnifm' is not permitted here"),
        ({"algorithms": ["omnifm"]}, r"The algorithm 'fedavg' is not permitted here"),
        ({"minimum_patients": 13}, r"12 patients in training are fewer than policy.minimum_patients = 13"),
        ({"upload": ["weights"]}, r"The upload holds prototypes; policy.upload allows weights"),
        ({"megabytes": 0.001}, r"A message of .* MB is larger than policy.megabytes = 0.001"),
    ],
)
def test_what_is_not_permitted_is_refused(tmp_path: Path, policy: dict[str, Any], reason: str) -> None:
    free, bound = Visit(tmp_path / "free"), Visit(tmp_path / "bound", **policy)
    reply = bound.ask(broadcast=free.broadcast(), train=True)
    assert (reply.outcome, reply.upload) == ("refused", None)
    assert re.search(reason, reply.reason), reply.reason
    assert bound.audit_log[-1]["reason"] == reply.reason
    assert not bound.audit_log[-1]["sent"]


@pytest.mark.parametrize(
    ("algorithm", "sent"),
    [("fedavg", ["weights"]), ("scaffold", ["weights", "auxiliary"]), ("local", [])],
)
def test_what_leaves_is_named_by_its_kinds(tmp_path: Path, algorithm: str, sent: list[str]) -> None:
    visit = Visit(tmp_path, algorithm)
    assert visit.train().outcome == "done"
    assert list(visit.audit_log[-1]["sent"]) == sent


def test_an_answer_is_serialised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit, real, sizes = Visit(tmp_path, "fedavg"), Reply.to_bytes, list[int]()
    broadcast = visit.broadcast()

    def counted(reply: Reply) -> bytes:
        data = real(reply)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(Reply, "to_bytes", counted)
    assert visit.ask(broadcast=broadcast, train=True).outcome == "done"
    assert len(sizes) == 1


def test_clipping_is_done_before_anything_leaves(tmp_path: Path) -> None:
    free, clipped = Visit(tmp_path / "free", "fedavg"), Visit(tmp_path / "clipped", "fedavg")
    clipped.experiment = replace(clipped.experiment, privacy=PrivacySettings(clip=1e-3))
    uploads = [visit.train().upload for visit in (free, clipped)]
    assert uploads[0] is not None
    assert uploads[1] is not None
    lengths = [float(upload.change["network.head.weight"].norm()) for upload in uploads]
    assert lengths[1] <= 1e-3 < lengths[0]
    assert not list(clipped.hospital.state_folder.rglob("secret"))


def test_noise_comes_from_a_secret_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, noisy = Visit(tmp_path / "plain", "fedavg"), Visit(tmp_path / "noisy", "fedavg")
    expected = plain.train().upload
    monkeypatch.setattr("omnifm.runs.arm.make_steps", lambda settings: [Noise()])
    broadcast = noisy.broadcast()
    first, again = (noisy.ask(broadcast=broadcast, train=True).upload for _ in range(2))
    assert first is not None
    assert again is not None
    assert expected is not None
    assert same_record(first, again), "asked again, it answers the same"
    name = "network.head.weight"
    (path,) = noisy.hospital.state_folder.rglob("secret")
    assert path.parent == noisy.hospital.state_folder, "it is of all runs: a run that is forgotten must not renew it"
    noise = private_generator(ClientSecret(path), "noise", name).standard_normal(tuple(first.change[name].shape))
    torch.testing.assert_close(first.change[name], expected.change[name] + torch.from_numpy(noise).float())
    told_of = [first.to_bytes(), (noisy.hospital.state_folder / "audit.jsonl").read_bytes()]
    assert not any(path.read_bytes() in data or path.read_bytes().hex().encode() in data for data in told_of)


def test_only_so_many_rounds_a_day(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "fedavg", rounds_a_day=2)
    assert [visit.train(number).outcome for number in (1, 2, 2, 3)] == ["done", "done", "done", "refused"]


def test_an_old_request_is_refused(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "fedavg")
    broadcast = visit.broadcast()
    assert visit.ask(broadcast=broadcast, train=True, issued=9).outcome == "done"
    assert (
        visit.ask(broadcast=broadcast, train=True, issued=8).reason
        == "The request is older than one that was answered."
    )


def test_a_request_that_is_delivered_again_is_answered_again(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "ditto")
    broadcast = visit.broadcast()
    first, again = (visit.ask(broadcast=broadcast, train=True, issued=9) for _ in range(2))
    assert (first.outcome, again.outcome) == ("done", "done")
    assert first.state == again.state


def test_the_server_cannot_choose_data_nor_places(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "fedavg")
    document = public_config(visit.experiment)
    data = {**document["data"], "root": "/etc"}
    assert "those of a hospital are its own" in visit.ask(experiment={**document, "data": data}).reason
    assert "is not a valid run name" in visit.ask(run="../..", broadcast=visit.broadcast(), train=True).reason
    assert set(document["data"]) == {"size", "channels", "answer_patients", "intensity"}
    assert "partition" not in document


def test_a_reason_that_may_name_a_patient_stays_at_home(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "fedavg")
    broken = tmp_path / "data/a/left/Jane Doe.png"
    broken.write_bytes(b"none")
    reply = visit.ask()
    assert reply.outcome == "failed"
    assert "Jane" not in reply.reason
    assert "Jane Doe" in visit.audit_log[-1]["reason"]


def test_nor_does_a_mistake_of_a_library_leave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visit(tmp_path, "fedavg")

    def fail(*args: Any, **more: Any) -> None:
        raise ValueError("Jane Doe's image has no pixels")

    monkeypatch.setattr("omnifm.engines.flower.client_handler.load_client_data", fail)
    assert visit.ask().reason == "ValueError; the hospital's audit log has the details."
    assert "Jane Doe" in visit.audit_log[-1]["reason"]


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    reply = Reply.from_bytes(ClientHandler(Visit(tmp_path).hospital).answer(b"none"))
    assert reply.outcome == "refused"
    assert "The request is not understood" in reply.reason


def test_a_full_disk_fails_the_round_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visit(tmp_path, "ditto")
    first = visit.train()
    assert first.state is not None
    broadcast = visit.broadcast(2)

    def full(path: Path, data: bytearray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("omnifm.checkpoint.client_store._put", full)
        reply = visit.ask(broadcast=broadcast, train=True, state=first.state, keep=(first.state,))
    assert reply.outcome == "failed"
    assert str(tmp_path) not in reply.reason
    assert "No space left on device" in visit.audit_log[-1]["reason"]
    again = visit.ask(broadcast=broadcast, train=True, state=first.state, keep=(first.state,))
    assert again.outcome == "done"


def test_a_damaged_state_is_reported(tmp_path: Path) -> None:
    visit = Visit(tmp_path, "ditto")
    state = visit.train().state
    (path,) = visit.hospital.state_folder.rglob(f"{state}.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    reply = visit.ask(broadcast=visit.broadcast(2), train=True, state=state, keep=(str(state),))
    assert reply.outcome == "failed"
    assert str(tmp_path) not in reply.reason
    assert "is damaged" in visit.audit_log[-1]["reason"]


def test_an_experiment_that_wants_rarer_answers_is_refused(tmp_path: Path) -> None:
    visit = Visit(tmp_path)
    document = public_config(visit.experiment)
    reply = visit.ask(experiment={**document, "data": {**document["data"], "answer_patients": 1}})
    assert reply.outcome == "refused"
    assert "policy.answer_patients = 5" in reply.reason


def test_weights_that_were_not_brought_are_named(tmp_path: Path) -> None:
    visit = Visit(tmp_path)
    broadcast = visit.broadcast()
    visit.experiment = replace(visit.experiment, init="/server/start.safetensors")
    reply = visit.ask(broadcast=broadcast, train=True, weights="a" * 64)
    assert reply.outcome == "failed"
    assert f"bring init/{'a' * 64}.safetensors" in reply.reason
    reply = visit.ask(broadcast=broadcast, train=True, weights="../" + "a" * 61)
    assert "has not said which file" in reply.reason


@pytest.mark.parametrize("kind", [DeploymentError, ExperimentError, CheckpointError, DataError, OSError, ValueError])
def test_no_path_of_the_hospital_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    visit = Visit(tmp_path, "fedavg")

    def fail(*args: Any, **more: Any) -> None:
        raise kind(f"{visit.hospital.state_folder}/Jane\x1b[2J is wrong")

    monkeypatch.setattr("omnifm.engines.flower.client_handler.load_client_data", fail)
    reply = visit.ask()
    assert reply.outcome == "failed"
    assert str(tmp_path) not in reply.reason
    assert "Jane" not in reply.reason
    assert "/Jane [2J is wrong" in visit.audit_log[-1]["reason"]


def private_visit(folder: Path, epsilon: float = 8.0, **policy: Any) -> Visit:
    visit = Visit(folder, "fedavg", **policy)
    sections = {**visit.experiment.sections}
    sections["classification"] = replace(sections["classification"], norm="group")
    privacy = PrivacySettings(epsilon=epsilon, sampling=0.5)
    visit.experiment = replace(visit.experiment, sections=sections, privacy=privacy)
    return visit


def test_a_private_hospital_counts_what_it_spends_and_tells_no_more(tmp_path: Path) -> None:
    visit = private_visit(tmp_path, max_epsilon=8.0)
    hello = visit.ask(run="", arm="fedavg")
    assert hello.introduction is not None
    arm = build_arm(visit.experiment, hello.introduction.data_spec)
    labels, broadcast = hello.introduction.shape.label_names, arm.algorithm.broadcast(arm.start().server)
    reply = visit.ask(arm="fedavg", labels=labels, broadcast=broadcast, train=True)
    upload = reply.upload
    assert upload is not None
    assert (hello.seconds, reply.seconds, upload.loss) == ({}, {}, None)
    assert upload.samples == hello.introduction.stats.train
    entry = visit.audit_log[-1]
    assert 0 < entry["epsilon"] <= entry["epsilon_of_all_runs"] <= 8
    told_of = [reply.to_bytes(), (visit.hospital.state_folder / "audit.jsonl").read_bytes()]
    secret = (visit.hospital.state_folder / "secret").read_bytes()
    assert not any(secret in data or secret.hex().encode() in data for data in told_of)


def test_no_new_run_gives_the_server_a_new_budget(tmp_path: Path) -> None:
    visit = private_visit(tmp_path, max_epsilon=8.1)
    broadcast = visit.broadcast()
    assert visit.ask(broadcast=broadcast, train=True).outcome == "done"
    shutil.rmtree(visit.hospital.state_folder / "runs")
    other = visit.ask(run="1" * 32, broadcast=broadcast, train=True)
    assert other.outcome == "refused"
    assert "above policy.max_epsilon = 8.1" in other.reason
    again = visit.ask(broadcast=broadcast, train=True)
    assert again.outcome == "done", "what has left may leave again: it is the same"


@pytest.mark.parametrize(
    ("epsilon", "policy", "reason"),
    [
        (0.0, {"max_epsilon": 3.0}, "promises no differential privacy; policy.max_epsilon = 3 asks for it"),
        (1.0, {"max_epsilon": 3.0, "max_delta": 1e-6}, "privacy.delta = 1e-05 is more than policy.max_delta = 1e-06"),
        (4.0, {"max_epsilon": 3.0}, "the run costs 4"),
    ],
)
def test_the_policy_asks_for_privacy(tmp_path: Path, epsilon: float, policy: dict[str, float], reason: str) -> None:
    reply = private_visit(tmp_path, epsilon, **policy).ask()
    assert reply.outcome == "refused"
    assert reason in reply.reason
