"""One hospital answers with whatever it likes: the run of the others goes on, and the log says why it did not count."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message
from town import Town, here_played, server_run

from omnifm.core.serialization import TensorBuffer
from omnifm.core.tensors import Tensors
from omnifm.engines.flower.messages import Reply

pytestmark = pytest.mark.slow

Change = Callable[[Reply], Any]
"""Turns a reply into another one, or into bytes."""


def deep(letter: str = "[") -> bytes:
    text = (letter * 100_000).encode()
    return len(text).to_bytes(8, "little") + text


def deep_metadata() -> bytes:
    return _with_header({"__metadata__": {"plain": "[" * 100_000}})


def absurd_shape() -> bytes:
    about = {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}
    return _with_header({"__metadata__": {"plain": "{}"}, "x": about})


def _with_header(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def plain(**fields: Any) -> Change:
    """Change fields of the reply's JSON, past the checks of its own type."""

    def change(reply: Reply) -> bytes:
        values = {f.name: getattr(reply, f.name) for f in dataclasses.fields(reply)}
        upload = values.pop("upload").to_bytes() if reply.upload else b""
        content = json.loads(json.dumps(values, default=dataclasses.asdict)) | fields
        if upload:
            content["upload"] = len(upload)
        return bytes(TensorBuffer({}, content).to_bytes() + upload)

    return change


def upload(**fields: Any) -> Change:
    def change(reply: Reply) -> Reply:
        return reply if reply.upload is None else replace(reply, upload=replace(reply.upload, **fields))

    return change


def tensors(field: str, edit: Callable[[Tensors], Tensors]) -> Change:
    def change(reply: Reply) -> Reply:
        if reply.upload is None:
            return reply
        changed: dict[str, Any] = {field: edit(getattr(reply.upload, field))}
        return replace(reply, upload=replace(reply.upload, **changed))

    return change


def all_of(value: float) -> Callable[[Tensors], Tensors]:
    return lambda found: {n: torch.full_like(v, value) if v.is_floating_point() else v for n, v in found.items()}


def times(factor: float) -> Callable[[Tensors], Tensors]:
    return lambda found: {n: v * factor if v.is_floating_point() else v for n, v in found.items()}


def bank(**parts: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Change tensors of the bank upload by name."""

    def edit(found: Tensors) -> Tensors:
        return {name: parts.get(name.rpartition("/")[2], lambda value: value)(value) for name, value in found.items()}

    return tensors("extra", edit)


def narrow(value: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.ones(3, 3), dim=1)


def scores(**fields: Any) -> Change:
    def change(reply: Reply) -> Any:
        if not reply.evaluations:
            return reply
        content = [dataclasses.asdict(one) | fields for one in reply.evaluations]
        return plain(evaluations=content)(reply)

    return change


def numbers(**values: Any) -> Change:
    def change(reply: Reply) -> Reply:
        return replace(reply, evaluations=tuple(replace(e, numbers={**e.numbers, **values}) for e in reply.evaluations))

    return change


REPLIES: dict[str, Change] = {
    "deep header": lambda reply: deep(),
    "deep metadata": lambda reply: deep_metadata(),
    "absurd shape": lambda reply: absurd_shape(),
    "nothing": lambda reply: b"",
    "text for a reason": plain(reason=["x"]),
    "endless reason": plain(outcome="failed", reason="x" * 10**6),
    "terminal escapes": plain(outcome="failed", reason="\x1b[2J\x1b[31mgone"),
    "seconds without end": plain(seconds={str(n): 1.0 for n in range(100_000)}),
    "a state like a path": plain(state="../../x" * 1000),
    "ragged table": scores(tables={"confusion": [[1], [1, 2]]}),
    "table of strings": scores(tables={"confusion": [["a", "b"], ["c", "d"]]}),
    "another table": scores(tables={"confusion": [[1]]}),
    "unknown table": scores(tables={"secrets": [[1, 2], [3, 4]]}),
    "deep table": scores(tables={"confusion": json.loads("[" * 90 + "]" * 90)}),
    "accuracy not a number": numbers(accuracy=float("nan")),
    "accuracy of a thousand": numbers(accuracy=1e9),
    "loss of text": upload(loss="low"),
    "loss beyond floats": upload(loss=10**400),
    "samples of text": upload(samples="many"),
    "samples as a float": upload(samples=3.5),
    "samples as a truth": upload(samples=True),
    "more samples": upload(samples=2**31 - 1),
    "notes in a list": upload(notes=[1, 2]),
    "notes a number": upload(notes=3),
    "endless notes": upload(notes={str(n): n for n in range(100_000)}),
    "another client": upload(client="MRI"),
    "accepted a list": upload(notes={"group": "CT", "accepted": [1]}),
    "not finite": tensors("change", all_of(float("nan"))),
    "huge": tensors("change", all_of(1e30)),
    "nearly infinite": tensors("change", all_of(3.4e38)),
    "scaled": tensors("change", times(1e4)),
    "no change": tensors("change", lambda found: {}),
    "one more": tensors("change", lambda found: {**found, "more": torch.zeros(3)}),
    "narrow prototypes": bank(prototypes=narrow, sizes=lambda v: torch.full((3,), 5)),
    "many prototypes": bank(prototypes=lambda v: v[:1].repeat(100, 1), sizes=lambda v: v[:1].repeat(100)),
    "prototypes of one image": bank(sizes=lambda v: torch.ones_like(v)),
    "prototypes of more images than it has": bank(sizes=lambda v: v * 10**6),
    "endless counts": bank(rows=lambda v: v[:1] * 0, counts=lambda v: v[:1] * 0 + 2**31 - 1),
    "a row twice": bank(rows=lambda v: v.repeat(2), counts=lambda v: v.repeat(2)),
    "another group": upload(notes={"group": "MRI"}),
}  # fmt: skip


class Liar:
    """Changes every answer of one hospital that trains or evaluates, or only its introduction."""

    def __init__(self, name: str, change: Change, hello: bool = False) -> None:
        self.name, self.change, self.hello = name, change, hello

    def __call__(self, name: str, group: str, answer: Message) -> Message:
        if name != self.name or (group == "hello") != self.hello:
            return answer
        body = answer.content.array_records["payload"]["body"]
        made = self.change(Reply.from_bytes(bytes(body.data)))
        body.data = bytes(made.to_bytes() if isinstance(made, Reply) else made)
        return answer


def finite(out: Path) -> bool:
    from safetensors import safe_open

    for path in out.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            values = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
        if not all(v.isfinite().all() for v in values if v.is_floating_point()):
            return False
    return True


def log(out: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "deploy.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] in kinds]


@pytest.mark.parametrize("what", REPLIES)
def test_a_reply_like_this_ends_no_run(
    town: Town, tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    # In the second round there is a bank, to lie about.
    plan, grid = town.plan("omnifm", federation={"rounds": 2}), town.grid(tmp_path / "hospitals")
    grid.answered = Liar("CT", REPLIES[what])
    server_run(plan, grid, tmp_path / "deployed")
    assert (tmp_path / "deployed/report.html").exists()
    assert finite(tmp_path / "deployed")
    told = log(tmp_path / "deployed", "rejected", "failed", "set aside")
    assert {line["client"] for line in told} == {"CT"}
    assert all(0 < len(line["text"]) < 1000 for line in told)
    assert "\x1b" not in (tmp_path / "deployed/deploy.jsonl").read_text()
    assert "\x1b" not in capfd.readouterr().err


def hello(**fields: Any) -> Change:
    """Change the introduction; fields of its parts too."""

    def change(reply: Reply) -> bytes:
        assert reply.introduction is not None
        about = dataclasses.asdict(reply.introduction)
        for key, value in fields.items():
            place = next((part for part in (about["stats"], about["shape"]) if key in part), about)
            place[key] = value
        return plain(introduction=about)(reply)

    return change


HELLOS: dict[str, Change] = {
    "deep": lambda reply: deep("{"),
    "versions that are our own words": hello(versions={"event": "x", "client": "y", "text": "z"}),
    "versions without end": hello(versions={str(n): "1" for n in range(1000)}),
    "100,000 classes": hello(label_names=[f"class {n}" for n in range(100_000)]),
    "a class of a million letters": hello(label_names=["x" * 10**6]),
    "100,000 answers": hello(vocabulary=[f"answer {n}" for n in range(100_000)]),
    "more samples than there are people": hello(train=10**30),
    "fewer samples than none": hello(train=-5),
    "other images": hello(size=[64, 64]),
    "images of no size": hello(size=[0, 0]),
    "two names": hello(name="MRI"),
}


@pytest.mark.parametrize("what", HELLOS)
def test_an_introduction_like_this_ends_no_run(town: Town, tmp_path: Path, what: str) -> None:
    changes: dict[str, Any] = {"deploy": {"wait_for": 2, "grace": 5.0}, "federation": {"rounds": 1}}
    plan, grid = town.plan("fedavg", **changes), town.grid(tmp_path / "hospitals")
    grid.answered = Liar("CT", HELLOS[what], hello=True)
    server_run(plan, grid, tmp_path / "deployed")
    assert json.loads((tmp_path / "deployed/status.json").read_text())["phase"] == "finished"
    lines = (tmp_path / "deployed/fedavg/metrics.jsonl").read_text().splitlines()
    counted = {name for line in map(json.loads, lines) if line["event"] == "round" for name in line["clients"]}
    if what == "versions that are our own words":
        assert counted == {"CT", "MRI", "PET"}
        return
    assert counted == {"MRI", "PET"}
    told = log(tmp_path / "deployed", "unwelcome")
    assert told
    assert all(0 < len(line["text"]) < 1000 for line in told)


def test_a_hospital_is_set_aside_after_three_replies_and_readmitted(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan("fedavg", federation={"rounds": 6}), town.grid(tmp_path / "hospitals")
    grid.answered = Liar("CT", REPLIES["not finite"])
    here = here_played(plan, tmp_path / "here", missed=[("CT", number) for number in range(1, 7)])
    assert server_run(plan, grid, tmp_path / "deployed") == here
    assert len(log(tmp_path / "deployed", "rejected")) == 3
    assert [line["client"] for line in log(tmp_path / "deployed", "set aside")] == ["CT"]
    again = town.grid(tmp_path / "hospitals")
    server_run(town.plan("fedavg", federation={"rounds": 6}), again, tmp_path / "deployed", resume=True, readmit=["CT"])
    assert [line["client"] for line in log(tmp_path / "deployed", "readmitted")] == ["CT"]
    assert json.loads((tmp_path / "deployed/membership.json").read_text())["set_aside"] == []


def test_the_best_round_cannot_be_pinned(town: Town, tmp_path: Path) -> None:
    for what in ("accuracy not a number", "accuracy of a thousand"):
        grid, out = town.grid(tmp_path / "hospitals" / what), tmp_path / what
        grid.answered = Liar("CT", REPLIES[what])
        server_run(town.plan("fedavg"), grid, out)
        lines = [json.loads(line) for line in (out / "fedavg/metrics.jsonl").read_text().splitlines()]
        means = [
            sum(numbers["accuracy"] for numbers in line["clients"].values()) / len(line["clients"])
            for line in lines
            if line["event"] == "evaluation" and line["split"] == "validation"
        ]
        number, score = json.loads((out / "fedavg/result.json").read_text())["best"]["before_local_training"]
        assert (number, score) == (1 + means.index(max(means)), max(means))
