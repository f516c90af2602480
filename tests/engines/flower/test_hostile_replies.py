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
from town import Town, server_run

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
        return TensorBuffer({}, content).to_bytes() + upload

    return change


def upload(**fields: Any) -> Change:
    def change(reply: Reply) -> Reply:
        return reply if reply.upload is None else replace(reply, upload=replace(reply.upload, **fields))

    return change


def tensors(field: str, edit: Callable[[Tensors], Tensors]) -> Change:
    def change(reply: Reply) -> Reply:
        if reply.upload is None:
            return reply
        return replace(reply, upload=replace(reply.upload, **{field: edit(getattr(reply.upload, field))}))

    return change


def all_of(value: float) -> Callable[[Tensors], Tensors]:
    return lambda found: {n: torch.full_like(v, value) if v.is_floating_point() else v for n, v in found.items()}


def times(factor: float) -> Callable[[Tensors], Tensors]:
    return lambda found: {n: v * factor if v.is_floating_point() else v for n, v in found.items()}


def bank(**parts: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return tensors(
        "extra",
        lambda found: {
            n: parts[n.rpartition("/")[2]](v) if n.rpartition("/")[2] in parts else v for n, v in found.items()
        },
    )


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
    "narrow prototypes": bank(prototypes=lambda v: torch.nn.functional.normalize(torch.ones(3, 3), dim=1), sizes=lambda v: torch.full((3,), 5)),
    "many prototypes": bank(prototypes=lambda v: v[:1].repeat(100, 1), sizes=lambda v: v[:1].repeat(100)),
    "prototypes of one image": bank(sizes=lambda v: torch.ones_like(v)),
    "prototypes of more images than it has": bank(sizes=lambda v: v * 10**6),
    "endless counts": bank(rows=lambda v: torch.zeros(1, dtype=v.dtype), counts=lambda v: torch.full((1,), 2**31 - 1, dtype=v.dtype)),
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
def test_a_reply_like_this_ends_no_run(town: Town, tmp_path: Path, what: str) -> None:
    algorithm = "omnifm"
    plan, grid = town.plan(algorithm), town.grid(tmp_path / "hospitals")
    grid.answered = Liar("CT", REPLIES[what])
    server_run(plan, grid, tmp_path / "deployed")
    assert (tmp_path / "deployed/report.html").exists()
    assert finite(tmp_path / "deployed")
    told = log(tmp_path / "deployed", "rejected", "failed", "set aside")
    assert {line["client"] for line in told} == {"CT"}
    assert all(line["text"] and "\x1b" not in line["text"] and len(line["text"]) < 1000 for line in told)
