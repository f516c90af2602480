"""A server that asks for what it likes, against the policy that ``omnifm deploy init`` writes for its experiment."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_grid import write_client_config
from PIL import Image
from small_run import document
from visit import Visit

from omnifm.algorithms.kinds import Kind
from omnifm.config.experiment import make_experiment, make_plan
from omnifm.core.records import Broadcast, Upload
from omnifm.deploy.deployment_plan import make_deployment_plan
from omnifm.deploy.provision import provision
from omnifm.engines.flower.client_config import ClientConfig, read_client_config
from omnifm.engines.flower.client_policy import ClientPolicy
from omnifm.engines.flower.config_exchange import load_client_data, localise, public_config
from omnifm.engines.flower.messages import Reply
from omnifm.engines.flower.policy import reject_upload
from omnifm.runs.arm import build_arm
from omnifm.spectral.kmeans import spherical_k_means

BANK = {"prototypes": 2, "min_cluster": 5}


class Bound(Visit):
    """A hospital with the policy of ``omnifm deploy init --experiment``."""

    def __init__(self, folder: Path, algorithm: str = "omnifm", **policy: Any) -> None:
        super().__init__(folder, algorithm)
        content = {**document(folder / "data", [], algorithm), "bank": BANK}
        del content["data"]["sources"]
        self.experiment = make_plan(content).arms[algorithm]
        plan = make_deployment_plan({"servers": ["fl.example.org"], "hospitals": ["CT"]})
        provision(folder / "deployment", plan, make_plan(content))
        written = tomllib.loads((folder / "deployment/hospitals/CT/client.toml").read_text())["policy"]
        place = write_client_config(
            folder / "bound",
            "CT",
            data={"root": str(folder / "data"), "sources": [{"kind": "image_folder", "folder": "a", "modality": "CT"}]},
            policy={**written, **policy},
        )
        self.hospital = read_client_config(place)

    def asked_with(self, **changes: Any) -> Reply:
        """Train with other settings, by sections; the weights are those of such a network."""
        told = public_config(self.experiment)
        for key, value in changes.items():
            told[key] = {**told.get(key, {}), **value} if isinstance(value, dict) else value
        experiment = make_experiment({key: value for key, value in told.items() if key != "data"})
        introduction = self.ask().introduction
        assert introduction is not None
        arm = build_arm(experiment, introduction.data_spec)
        return self.ask(experiment=told, broadcast=arm.algorithm.broadcast(arm.start().server), train=True)


def refused(reply: Reply, reason: str) -> None:
    assert reply.outcome == "refused", (reply.outcome, reply.reason)
    assert reason in reply.reason
    assert reply.upload is None
    assert not reply.evaluations


@pytest.mark.parametrize("algorithm", ["omnifm", "fedavg", "scaffold", "ditto", "fedrep", "local", "grouped", "moon"])
def test_its_own_experiment_is_permitted(tmp_path: Path, algorithm: str) -> None:
    visit = Bound(tmp_path, algorithm)
    reply = visit.train(evaluations=(("validation", "after_local_training"),))
    assert reply.outcome == "done", reply.reason
    if algorithm == "omnifm":
        assert reply.upload is not None
        assert int(reply.upload.extra["bank/sizes"].min()) >= 5


@pytest.mark.parametrize("personal", [("norm",), ("statistics", "head"), ("everything",)])
def test_parts_that_the_policy_names_by_their_kind_are_no_others(tmp_path: Path, personal: tuple[str, ...]) -> None:
    visit = Bound(tmp_path, personal=list(personal))
    settings = replace(visit.experiment.sections["omnifm"], personal=personal)
    visit.experiment = replace(visit.experiment, sections={**visit.experiment.sections, "omnifm": settings})
    reply = visit.train()
    assert reply.outcome == "done", reply.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bank": {"min_cluster": 1}}, "policy.min_cluster = 5"),
        ({"bank": {"prototypes": 10000}}, "policy.prototypes = 2"),
        ({"adapter": {"rho": 1.0}}, "policy.rho = 0.25"),
        ({"adapter": {"grid": 15}}, "policy.grid = 7"),
        ({"adapter": {"token_dim": 225}}, "policy.token_dim = 8"),
        ({"training": {"epochs": 5}}, "policy.epochs = 1"),
        ({"training": {"batch_size": 64}}, "policy.batch_size = 4"),
        ({"algorithm": "fedrep", "fedrep": {"head_epochs": 40}}, "The algorithm 'fedrep' is not permitted"),
        ({"algorithm": "omnifm", "omnifm": {"base": "ditto"}}, "The algorithm 'ditto' is not permitted"),
        ({"bank": {"rounded": False}}, "policy.exact_prototypes = false"),
        ({"adapter": {"keys": "learned"}}, "policy.exact_prototypes = false"),
        ({"omnifm": {"variant": "paper"}}, "policy.exact_prototypes = false"),
        ({"omnifm": {"personal": [], "circle": []}, "adapter": {"keys": "fixed"}}, "never leaves"),
    ],
    ids=str,
)
def test_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    refused(Bound(tmp_path).asked_with(**changes), reason)


def test_a_large_network_is_refused_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Bound(tmp_path)
    broadcast = visit.broadcast()

    def made(*arguments: Any, **more: Any) -> None:
        raise AssertionError("it was made")

    monkeypatch.setattr("omnifm.runs.arm._build_model", made)
    told = {**public_config(visit.experiment), "classification": {"width": 4096}}
    refused(visit.ask(experiment=told, broadcast=replace(broadcast, shared={}), train=True), "The network holds more")


def test_epochs_of_an_algorithm_of_its_own_are_refused(tmp_path: Path) -> None:
    visit = Bound(tmp_path, "fedrep")
    refused(visit.asked_with(fedrep={"head_epochs": 40}), "41 passes over the training data a round are more than")


def test_epochs_that_an_algorithm_does_not_tell_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnifm.algorithms.ditto.Ditto.epochs", lambda self, settings: 1)
    visit = Bound(tmp_path, "ditto", epochs=1)
    refused(visit.train(), "Training passes over the data more often than the 1 times that it may")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"task": "segmentation"}, "The task 'segmentation' is not permitted"),
        ({"algorithm": "fedprox"}, "The algorithm 'fedprox' is not permitted"),
        ({"data": {"size": 30000}}, "policy.image_size = 16"),
        ({"data": {"answer_patients": 1}}, "policy.answer_patients = 5"),
    ],
    ids=str,
)
def test_at_hello_too(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    visit = Bound(tmp_path)
    told = public_config(visit.experiment)
    for key, value in changes.items():
        told[key] = {**told.get(key, {}), **value} if isinstance(value, dict) else value
    reply = visit.ask(experiment=told)
    refused(reply, reason)
    assert reply.introduction is None


@pytest.mark.parametrize(
    ("task", "settings", "name"),
    [
        ("vqa", {"network": "llava", "llava": {"model": "/etc"}}, "/etc"),
        ("vqa", {"network": "llava", "llava": {"model": "attacker/weights"}}, "attacker/weights"),
        ("vqa", {"network": "llava", "llava": {"lora": "/root"}}, "/root"),
        ("image_fusion", {"vgg": "/etc/passwd"}, "/etc/passwd"),
    ],
)
def test_no_file_and_no_model_is_named_by_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, settings: dict[str, Any], name: str
) -> None:
    def touched(*arguments: Any, **more: Any) -> None:
        raise AssertionError("the data are not even loaded")

    monkeypatch.setattr("omnifm.engines.flower.client_handler.load_client_data", touched)
    visit = Bound(tmp_path, tasks=["*"])
    told = {**public_config(visit.experiment), "task": task, task: settings}
    refused(visit.ask(experiment=told), f"The model {name!r} is not permitted here (policy.models: none)")


def test_scores_after_training_are_bounded_as_training_is(tmp_path: Path) -> None:
    judged = (("validation", "after_local_training"),)
    small = Bound(tmp_path / "small", minimum_patients=13)
    refused(small.ask(broadcast=small.broadcast(), evaluations=judged), "12 patients in training are fewer than")
    visit = Bound(tmp_path / "few", rounds_a_day=1, upload=[])
    assert visit.ask(broadcast=visit.broadcast(1), evaluations=judged).outcome == "done"
    refused(visit.ask(broadcast=visit.broadcast(2), evaluations=judged), "policy.rounds_a_day = 1")
    refused(visit.ask(broadcast=visit.broadcast(2), evaluations=judged, run="1" * 32), "policy.rounds_a_day = 1")


def test_a_round_is_answered_for_one_model_only(tmp_path: Path) -> None:
    visit = Bound(tmp_path)
    broadcast = visit.broadcast()
    first = visit.ask(broadcast=broadcast, train=True)
    again = visit.ask(broadcast=broadcast, train=True)
    assert (first.outcome, again.outcome) == ("done", "done"), "an answer that was lost can be repeated"
    assert first.upload is not None
    assert again.upload is not None
    assert first.upload.to_bytes() == again.upload.to_bytes()
    for number in range(3):
        other = {name: value + number + 1 for name, value in broadcast.shared.items()}
        refused(visit.ask(broadcast=replace(broadcast, shared=other), train=True), "Round 1 was answered before")
    slower = replace(visit.experiment, training=replace(visit.experiment.training, learning_rate=1e-30))
    refused(visit.ask(experiment=public_config(slower), broadcast=broadcast, train=True), "Round 1 was answered before")


def test_what_is_personal_cannot_be_asked_for_as_a_circles_weights(tmp_path: Path) -> None:
    visit = Bound(tmp_path)
    broadcast = visit.broadcast()
    names = [name for name in build_names(visit) if "suffix" in name or "running_mean" in name]
    assert names
    for prefix in ("reference", "weights"):
        for name, value in names_with_values(visit, names):
            message = Broadcast(1, {}, {"circle": torch.tensor([1]), f"{prefix}/{name}": value})
            refused(visit.ask(broadcast=broadcast, message=message, train=True), f"{name} never leaves")


def build_names(visit: Visit) -> list[str]:
    return [name for name, _ in names_with_values(visit, None)]


def names_with_values(visit: Visit, names: list[str] | None) -> list[tuple[str, torch.Tensor]]:
    introduction = visit.ask().introduction
    assert introduction is not None
    initial = build_arm(visit.experiment, introduction.data_spec).runtime.initial
    return [(name, value) for name, value in initial.items() if names is None or name in names]


def test_a_request_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    refused(Bound(tmp_path, minutes=1e-7).train(), "The work takes longer than")


@pytest.mark.parametrize("state", ["../../../x", "/etc/passwd", "0" * 63, ""])
def test_a_state_is_named_by_its_digest_alone(tmp_path: Path, state: str) -> None:
    visit = Bound(tmp_path)
    refused(visit.ask(broadcast=visit.broadcast(), train=True, state=state), "digests of 64 hex digits")
    refused(visit.ask(broadcast=visit.broadcast(), train=True, keep=(state,)), "digests of 64 hex digits")


def test_of_a_state_that_is_not_there_no_path_is_told(tmp_path: Path) -> None:
    visit = Bound(tmp_path)
    reply = visit.ask(broadcast=visit.broadcast(), train=True, state="a" * 64)
    assert reply.outcome == "failed"
    assert str(tmp_path) not in reply.reason
    assert str(tmp_path) in visit.audit_log[-1]["reason"]


@pytest.mark.parametrize(
    "changes",
    [
        {"arm": "x" * 20_000_000},
        {"arm": "\x1b[2J"},
        {"arm": ""},
        {"run": "x" * 20_000_000},
        {"labels": tuple(f"{n}" for n in range(100_000))},
        {"vocabulary": ("x" * 1_000_000,)},
        {"keep": ("a" * 64,) * 1000},
        {"issued": 2**63},
        {"evaluations": (("test", "before_local_training"),) * 300},
        {"experiment": {"name": "x" * 1_000_000}},
        {"experiment": {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {"i": {"j": {"k": {"l": {}}}}}}}}}}}}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_nothing_that_is_written_down_grows_with_a_request(tmp_path: Path, changes: dict[str, Any]) -> None:
    visit = Bound(tmp_path)
    before = sum(path.stat().st_size for path in visit.hospital.state_folder.rglob("*") if path.is_file())
    assert visit.ask(**changes).outcome == "refused"
    after = sum(path.stat().st_size for path in visit.hospital.state_folder.rglob("*") if path.is_file())
    assert after - before < 2000


@pytest.mark.parametrize("number", [0, -5, 2**31, True, 1.5, "1"])
def test_a_round_is_a_number(tmp_path: Path, number: Any) -> None:
    visit = Bound(tmp_path)
    refused(visit.ask(broadcast=replace(visit.broadcast(), round=number), train=True), "The round is not a number")


def test_runs_that_are_invented_do_not_pile_up(tmp_path: Path) -> None:
    visit = Bound(tmp_path, rounds_a_day=3)
    outcomes = [visit.train(run=f"{number:032x}").outcome for number in range(6)]
    assert outcomes == ["done"] * 3 + ["refused"] * 3
    assert len(list((visit.hospital.state_folder / "runs").iterdir())) == 3


def slices(folder: Path, patients: int, each: int) -> dict[str, Any]:
    """Write images of a few patients, many of each."""
    noise = np.random.default_rng(0)
    for label in ("left", "right"):
        (folder / label).mkdir(parents=True)
        for patient in range(patients):
            for number in range(each):
                pixels = noise.integers(0, 100, (16, 16)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{label}{patient}-{number}.png")
    return {"kind": "image_folder", "folder": folder.name, "modality": "CT", "patient_pattern": r"/(\w+)-"}


def test_many_slices_of_few_patients_give_no_prototype(tmp_path: Path) -> None:
    visit = Bound(tmp_path, minimum_patients=1)
    source = slices(tmp_path / "data/b", patients=3, each=20)
    data = replace(visit.hospital.data, sources=make_plan({"data": {"sources": [source]}}).arms["omnifm"].data.sources)
    visit.hospital = replace(visit.hospital, data=data)
    reply = visit.train()
    assert reply.outcome == "done", reply.reason
    assert reply.upload is not None
    assert reply.upload.samples >= 40
    assert reply.upload.extra["bank/prototypes"].shape == (0, 8), "fewer than five patients train"
    visit.hospital = replace(visit.hospital, policy=replace(visit.hospital.policy, minimum_patients=10))
    refused(visit.train(number=2), "patients in training are fewer than policy.minimum_patients = 10")


def test_the_finished_upload_is_checked_whatever_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = spherical_k_means

    def careless(tokens: Any, clusters: int, stream: Any, least: int, **more: Any) -> Any:
        return real(tokens, clusters, stream, 1, **more)

    visit = Bound(tmp_path, min_cluster=7)
    monkeypatch.setattr("omnifm.spectral.prototypes.spherical_k_means", careless)
    visit.experiment = replace(visit.experiment, bank=replace(visit.experiment.bank, min_cluster=7))
    refused(visit.train(), "A prototype of fewer than policy.min_cluster = 7 patients does not leave")


def upload(**extra: torch.Tensor) -> Upload:
    return Upload("CT", 10, 0.5, {}, {f"bank/{name}": value for name, value in extra.items()})


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (upload(prototypes=torch.eye(2, 8), sizes=torch.tensor([5, 4])), "fewer than policy.min_cluster = 5 patients"),
        (upload(prototypes=torch.eye(2, 8), sizes=torch.tensor([5])), "fewer than policy.min_cluster = 5 patients"),
        (upload(prototypes=torch.eye(2, 8)), "fewer than policy.min_cluster = 5 patients"),
        (upload(prototypes=torch.eye(17, 64), sizes=torch.full((17,), 5)), "policy.prototypes = 16"),
        (upload(prototypes=torch.eye(2, 65), sizes=torch.full((2,), 5)), "policy.token_dim = 64"),
        (upload(prototypes=torch.eye(2, 8), sizes=torch.tensor([5, 5])), ""),
    ],
)
def test_prototypes_leave_only_with_the_patients_behind_them(made: Upload, reason: str) -> None:
    kinds = {f"extra/{n}": Kind.PROTOTYPE if n.endswith("prototypes") else Kind.COUNT for n in made.extra}
    found = reject_upload(ClientPolicy(tasks=("*",), algorithms=("*",)), made, kinds, frozenset())
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("name", ["network.head.weight", "control/network.head.weight", "c.network.head.weight"])
@pytest.mark.parametrize("where", [lambda policy: (policy, {"network.head.weight"}), lambda policy: (policy, set())])
def test_a_personal_part_does_not_leave_under_any_prefix(
    name: str, where: Callable[[ClientPolicy], tuple[ClientPolicy, set[str]]]
) -> None:
    policy, kept = where(ClientPolicy(tasks=("*",), algorithms=("*",), personal=("head",)))
    made = Upload("CT", 10, 0.5, {}, {name: torch.zeros(1)})
    assert f"{name} never leaves" in reject_upload(policy, made, {f"extra/{name}": Kind.AUXILIARY}, kept)


def test_the_server_cannot_have_patients_change_places(tmp_path: Path) -> None:
    visit = Bound(tmp_path)

    def trained(seed: int, hospital: ClientConfig) -> tuple[str, ...]:
        told = public_config(replace(visit.experiment, seed=seed))
        return load_client_data(localise(told, hospital), hospital).clients[0].train.patients

    assert trained(0, visit.hospital) == trained(1, visit.hospital)
    own = replace(visit.hospital, data=replace(visit.hospital.data, seed=1))
    assert trained(0, own) != trained(0, visit.hospital)


def test_the_policy_is_written_as_toml(tmp_path: Path) -> None:
    visit = Bound(tmp_path)
    text = (tmp_path / "deployment/hospitals/CT/client.toml").read_text()
    policy = tomllib.loads(text)["policy"]
    assert (policy["tasks"], policy["algorithms"]) == (["classification"], ["omnifm", "fedavg"])
    assert (policy["epochs"], policy["prototypes"], policy["min_cluster"]) == (1, 2, 5)
    assert (policy["upload"], policy["personal"]) == (["weights", "prototypes"], ["statistics"])
    assert policy["exact_prototypes"] is False
    assert policy["rounds_a_day"] == 2 * (visit.experiment.federation.rounds + 1)
