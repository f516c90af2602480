"""A federation that answers questions with a tiny LLaVA model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import federated, packed, same, same_checkpoint
from safetensors.torch import load_file

from omnifm.config.experiment import make_experiment, to_document
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.records import ClientState, Upload
from omnifm.data.columns import Column, Texts
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import ClientData, Subset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import Arm, make_arm

TYPES = ("side", "presence")
BOTH = ["connector", "connector+llm"]


def made_questions(name: str, count: int, seed: int) -> Subset:
    """Images that are bright on one side, and questions about it."""
    draw = torch.Generator().manual_seed(seed)
    right, asks_side = torch.arange(count) % 2 == 1, torch.arange(count) // 2 % 2 == 0
    image = 0.3 * torch.rand(count, 1, 24, 24, generator=draw)
    image[~right, ..., :12] += 0.7
    image[right, ..., 12:] += 0.7
    rows = list(zip(right.tolist(), asks_side.tolist(), strict=True))
    questions = ["which side is it?" if side else "is it right?" for _, side in rows]
    answers = [("right" if r else "left") if side else ("yes" if r else "no") for r, side in rows]
    fields: dict[str, Column] = {
        "image": image,
        "question": Texts.of(questions),
        "answer": Texts.of(answers),
        "closed": ~asks_side,
        "target": torch.stack([asks_side, ~asks_side], dim=1).to(torch.uint8),
        "allowed": torch.ones(count, 2, dtype=torch.bool),
        "exclusive": torch.ones(count, dtype=torch.bool),
    }
    return Subset(fields, tuple(f"{name}/{row}" for row in range(count)))


def made_dataset() -> FederatedDataset:
    clients = [
        ClientData(name, name, *(made_questions(name, count, 3 * place + k) for k, count in enumerate((train, 4, 4))))
        for place, (name, train) in enumerate((("CT", 12), ("MRI", 8), ("PET", 4)))
    ]
    return FederatedDataset(tuple(clients), TYPES, ("left", "no", "right", "yes"))


def made_arm(model: Path, algorithm: str, train: str, llava: dict[str, Any] | None = None, **changes: Any) -> Arm:
    document = {
        "task": "vqa",
        "algorithm": algorithm,
        "training": {"batch_size": 4, "optimizer": "adamw", "learning_rate": 0.01},
        "federation": {"rounds": 2, "evaluate_every": 2},
        "adapter": {"grid": 7, "token_dim": 8, "neighbours": 3},
        "bank": {"prototypes": 2, "min_cluster": 2},
        "vqa": {
            "network": "llava",
            "llava": {"model": str(model), "train": train, "rank": 2, "alpha": 4, "max_new_tokens": 4, **(llava or {})},
        },
        **changes,
    }
    return make_arm(make_experiment(document), made_dataset())


def uploads(arm: Arm) -> list[Upload]:
    broadcast = arm.algorithm.broadcast(arm.start().server)
    return [arm.runtime.update(broadcast, name, ClientState())[0] for name in arm.participants]


def played(arm: Arm, workers: int) -> Checkpoint:
    with InProcess(arm.runtime, workers) as engine:
        return arm.federation(engine).run(arm.start())


def expected(train: str, parts: Sequence[str] = ()) -> set[str]:
    """Name what is trained in the head of the tiny model."""
    connector = {f"network.head.projector.linear_{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")}
    places = [f"network.head.language_model.layers.{n}.self_attn.{p}_proj" for n in (0, 1) for p in "qkvo"]
    lora = {f"{place}.lora_{half}.default.weight" for place in places for half in "AB"}
    return connector | (lora if train == "connector+llm" else set())


@pytest.mark.parametrize("train", BOTH)
def test_only_what_is_trained_is_uploaded(tiny_llava: Path, train: str) -> None:
    arm = made_arm(tiny_llava, "fedavg", train)
    weights = arm.runtime.model.state_dict()
    numbers = sum(weights[name].numel() for name in expected(train))
    for upload in uploads(arm):
        assert upload.change.keys() == expected(train)
        assert all(change.any() for name, change in upload.change.items() if "lora_A" not in name)
        assert 0 <= len(upload.to_bytes()) - 4 * numbers < 4096
    assert numbers == {"connector": 3936, "connector+llm": 5280}[train]
    frozen = sum(weight.numel() for weight in arm.runtime.model.parameters() if not weight.requires_grad)
    assert frozen > 10 * numbers
    assert arm.runtime.initial.keys() == expected(train)


@pytest.mark.parametrize("train", BOTH)
def test_omnifm_shares_the_adapter_too_and_keeps_the_suffix(tiny_llava: Path, train: str) -> None:
    arm = made_arm(tiny_llava, "omnifm", train)
    assert arm.algorithm.in_circles == ("backbone",)  # of which nothing is learned
    assert arm.runtime.personal == {"adapter.prompting.suffix"}
    adapter = {name for name in arm.runtime.initial if name.startswith("adapter.")}
    assert arm.runtime.initial.keys() - adapter == expected(train)
    for upload in uploads(arm):
        assert upload.change.keys() == (expected(train) | adapter) - arm.runtime.personal


@pytest.mark.parametrize(("algorithm", "train"), [("fedavg", "connector"), ("omnifm", "connector+llm")])
def test_one_worker_or_two_and_a_resumed_run_end_with_the_same_bits(
    tiny_llava: Path, algorithm: str, train: str
) -> None:
    arm = made_arm(tiny_llava, algorithm, train)
    frozen = {n: p.clone() for n, p in arm.runtime.model.named_parameters() if not p.requires_grad}
    first, last = federated(arm)
    assert not same(first.server.shared, last.server.shared)
    two = played(made_arm(tiny_llava, algorithm, train), 2)
    assert same(two.server.shared, last.server.shared)
    assert two.clients.keys() == last.clients.keys()
    assert all(same(two.clients[name].personal, last.clients[name].personal) for name in two.clients)
    resumed = federated(made_arm(tiny_llava, algorithm, train), packed(first))[-1]
    assert same_checkpoint(resumed, last)
    kept = {name for state in last.clients.values() for name in state.personal}
    assert kept == arm.runtime.personal
    after = dict(arm.runtime.model.named_parameters())
    assert same(frozen, {name: after[name].detach() for name in frozen})


TRAINING: Any = "train"
"""No split that a run is judged on, but that on which it must learn."""


@pytest.mark.parametrize("train", BOTH)
def test_it_learns(tiny_llava: Path, train: str) -> None:
    arm = made_arm(tiny_llava, "fedavg", train, federation={"rounds": 6}, llava={"dropout": 0.0})
    before = arm.runtime.evaluate(
        arm.algorithm.broadcast(arm.start().server), "CT", ClientState(), TRAINING, "before_local_training"
    )
    last = federated(arm)[-1]
    after = arm.runtime.evaluate(
        arm.algorithm.broadcast(last.server), "CT", ClientState(), TRAINING, "before_local_training"
    )
    assert after.numbers["loss"] < before.numbers["loss"] - 1
    assert {"accuracy", "accuracy_closed", "accuracy_open", "f1_open"} <= after.numbers.keys()
    panels = arm.runtime.show(arm.algorithm.broadcast(last.server), "CT", ClientState(), "before_local_training", 2)
    assert [panel.question for panel in panels] == ["which side is it?", "is it right?"]


def test_peft_reads_what_a_federation_has_learned(tiny_llava: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import LlavaForConditionalGeneration

    arm = made_arm(tiny_llava, "fedavg", "connector+llm")
    last = federated(arm)[-1]
    arm.runtime.weights.load(last.server.shared)
    arm.runtime.model.network.export(tmp_path)
    batch = arm.task.prepare_batch(next(iter(arm.runtime.clients.values())).test.whole())
    with torch.inference_mode():
        found = arm.runtime.model.eval()(batch).prediction
    whole = LlavaForConditionalGeneration.from_pretrained(tiny_llava)
    whole.model.multi_modal_projector.load_state_dict(load_file(tmp_path / "projector.safetensors"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)  # of PEFT, about a name in transformers
        peft = PeftModel.from_pretrained(whole, tmp_path).eval()
    backbone = arm.runtime.model.network.backbone
    pixels = torch.nn.functional.interpolate(batch["image"], (32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    pixels = (pixels.expand(-1, 3, -1, -1) - backbone.mean.view(3, 1, 1)) / backbone.std.view(3, 1, 1)
    with torch.inference_mode():
        written = peft.generate(
            input_ids=batch["asked"],
            attention_mask=batch["asked_mask"].long(),
            pixel_values=pixels,
            max_new_tokens=4,
            do_sample=False,
        )[:, batch["asked"].shape[1] :]
    assert torch.equal(found["written"][:, : written.shape[1]], written)
    again = made_arm(tiny_llava, "fedavg", "connector+llm", llava={"lora": str(tmp_path)})
    assert same(again.runtime.initial, last.server.shared)


def test_the_low_rank_changes_may_stay_at_home(tiny_llava: Path) -> None:
    arm = made_arm(tiny_llava, "fedavg", "connector+llm", federation={"rounds": 1, "personal": ["language_model"]})
    assert arm.runtime.personal == expected("connector+llm") - expected("connector")
    assert all(upload.change.keys() == expected("connector") for upload in uploads(arm))


def test_moon_copies_no_frozen_weights(tiny_llava: Path) -> None:
    arm = made_arm(tiny_llava, "moon", "connector+llm")
    assert federated(arm)
    trainer = arm.runtime._trainer("CT", 1)
    own, copy = dict(trainer.model.named_parameters()), trainer.frozen()
    apart = {name for name, p in copy.named_parameters() if p is not own[name]}
    assert apart == trainer.trainable.keys()
    batch = arm.task.prepare_batch(next(iter(arm.runtime.clients.values())).test.whole())
    with torch.inference_mode():
        assert torch.equal(copy(batch).prediction["written"], trainer.model.eval()(batch).prediction["written"])


def test_the_settings_come_back_out_of_the_experiment(tiny_llava: Path) -> None:
    document = to_document(made_arm(tiny_llava, "fedavg", "connector").experiment)
    assert document["vqa"]["llava"]["train"] == "connector"
    assert make_experiment(document).sections["vqa"].llava.model == str(tiny_llava)
