from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import federated, made_dataset, same

from omnifm.config.experiment import make_experiment, make_plan
from omnifm.data.columns import Column, Shared, Texts, read_texts
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.data.subset import Batch, ClientData, Subset
from omnifm.networks.answering import Answered
from omnifm.runs.arm import Arm, make_arm
from omnifm.tasks.task import DataShape
from omnifm.tasks.vqa import VQA, VQASettings
from omnifm.utils.errors import ExperimentError

TYPES = ("presence", "side")
VOCABULARY = ("left", "no", "right", "yes")


def examples(rows: list[tuple[str, str, str]], name: str = "a") -> Subset:
    """Return questions of a type with their answers, two about an image; yes and no are closed."""
    count = len(rows)
    draw = torch.Generator().manual_seed(len(name))
    kinds = torch.tensor([TYPES.index(kind) for kind, _, _ in rows])
    fields: dict[str, Column] = {
        "image": Shared(torch.rand((count + 1) // 2, 1, 16, 16, generator=draw), torch.arange(count) // 2),
        "question": Texts.of([question for _, question, _ in rows]),
        "answer": Texts.of([answer for _, _, answer in rows]),
        "closed": torch.tensor([answer in ("yes", "no") for _, _, answer in rows]),
        "target": torch.nn.functional.one_hot(kinds, 2).to(torch.uint8),
        "allowed": torch.ones(count, 2, dtype=torch.bool),
    }
    return Subset(fields, tuple(f"{name}/{row // 2}" for row in range(count)))


TRAIN = examples(
    [("presence", "is there one?", "yes"), ("side", "which side?", "left")] * 6 + [("presence", "q", "no")]
)
TEST = examples(
    [
        ("presence", "is there one?", "no"),
        ("presence", "is there one?", "yes"),
        ("side", "which side?", "left"),
        ("side", "which side?", "left upper lobe"),
    ]
)


def task() -> VQA:
    return VQA(VQASettings(), DataShape(1, (16, 16), TYPES, VOCABULARY))


def predicted(*answers: str) -> Answered:
    """Return a prediction of these answers, written where they are no class."""
    classes = [VOCABULARY.index(answer) if answer in VOCABULARY else len(VOCABULARY) for answer in answers]
    chosen = torch.eye(len(VOCABULARY) + 1)[classes]
    return {"classes": chosen, "written": Texts.of(answers).utf8, "written_likely": torch.zeros(len(answers))}


def test_scores_by_hand() -> None:
    metric = task().metric(TRAIN)
    batch = TEST.whole()
    found = predicted("yes", "yes", "the left", "left lobe")
    for rows in (slice(0, 1), slice(1, 4)):
        part = {name: values[rows] for name, values in found.items()}
        metric.update(part, {name: values[rows] for name, values in batch.items()})
    # "left lobe" of "left upper lobe": precision 1, recall 2 / 3.
    assert metric.compute().numbers == pytest.approx(
        {
            "accuracy": 2 / 4,
            "accuracy_frequent": 2 / 4,
            "accuracy_closed": 1 / 2,
            "accuracy_closed_frequent": 1 / 2,
            "accuracy_open": 1 / 2,
            "accuracy_open_frequent": 1 / 2,
            "f1_open": (1 + 0.8) / 2,
            "recall_open": (1 + 2 / 3) / 2,
            "accuracy_presence": 1 / 2,
            "accuracy_presence_frequent": 1 / 2,
            "accuracy_side": 1 / 2,
            "accuracy_side_frequent": 1 / 2,
        }
    )


def test_what_was_not_asked_has_no_score() -> None:
    metric = task().metric(TRAIN)
    metric.update(predicted("no"), TEST.batch(torch.tensor([0])))
    numbers = metric.compute().numbers
    assert numbers["accuracy"] == numbers["accuracy_closed"] == numbers["accuracy_presence"] == 1
    assert not {"accuracy_open", "f1_open", "accuracy_side"} & numbers.keys()


def test_panels_show_question_and_answer() -> None:
    panels = task().visualise(predicted("no", "no", "left", ""), TEST.whole())
    assert [(panel.question, panel.caption, panel.right) for panel in panels] == [
        ("is there one?", "no", True),
        ("is there one?", "no, is yes", False),
        ("which side?", "left", True),
        ("which side?", "no answer, is left upper lobe", False),
    ]
    assert panels[0].given[0].pixels.shape == (16, 16)


def test_training_images_are_shifted_but_never_mirrored() -> None:
    image = torch.arange(16.0).expand(40, 1, 16, 16)
    moved = task().augment({"image": image}, torch.Generator().manual_seed(0))["image"]
    assert not torch.equal(moved, image)
    assert (moved.diff(dim=3) >= 0).all()
    still = VQA(VQASettings(augment=False), DataShape(1, (16, 16), TYPES, VOCABULARY))
    assert still.augment({"image": image}, torch.Generator())["image"] is image


def test_the_network_in_two_halves() -> None:
    made = task()
    network = made.network().eval()
    batch = made.prepare_batch(TEST.whole())
    tokens, context = network.encode(batch)
    assert tokens.shape == (4, 4, network.width)
    prediction = network.decode(tokens, context, batch)
    assert len(made.answerer.answers(prediction, batch)) == 4
    assert torch.isfinite(made.loss(prediction, batch))
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"backbone", "head"}


def arm(dataset: FederatedDataset, **changes: Any) -> Arm:
    document = {
        "task": "vqa",
        "algorithm": "omnifm",
        "vqa": {"compact": {"width": 8, "buckets": 64, "answer_bytes": 8}},
        "training": {"batch_size": 8, "optimizer": "adamw", "learning_rate": 5e-3},
        "federation": {"rounds": 2, "evaluate_every": 2, "evaluate": ["before_local_training"]},
        "adapter": {"grid": 7, "token_dim": 8, "neighbours": 3},
        "bank": {"prototypes": 3, "min_cluster": 4},
    }
    return make_arm(make_experiment({**document, **changes}), dataset)


def asked() -> FederatedDataset:
    other = examples([("side", "which side is it?", "right"), ("side", "where?", "liver dome")] * 6, "bb")
    return FederatedDataset(
        (ClientData("a", "CT", TRAIN, TEST, TEST), ClientData("b", "MRI", other, TEST, TEST)), TYPES, VOCABULARY
    )


def test_hospitals_learn_together_and_the_encoder_stays_at_home() -> None:
    made = arm(asked())
    one, two = federated(made), federated(arm(asked()))
    assert same(one[-1].server.shared, two[-1].server.shared)
    sent = set(one[-1].server.shared)
    assert any(name.startswith("network.head.") for name in sent)
    assert not any(name.startswith("network.backbone.") for name in sent)
    assert one[-1].server.notes["report"]["bank_entries"] > 0


def test_sources_without_questions_are_refused() -> None:
    with pytest.raises(ExperimentError, match="'vqa' needs questions and answers, and the sources have labels"):
        arm(made_dataset())


def test_a_batch_is_read_before_it_moves() -> None:
    batch: Batch = task().prepare_batch(TEST.whole())
    assert batch["class"].tolist() == [1, 3, 0, len(VOCABULARY)]
    assert read_texts(batch["answer"])[3] == "left upper lobe"


def test_the_scenarios_of_the_page_can_be_run() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/tasks.md").read_text(encoding="utf-8")
    section = page.partition("## Questions and answers")[2].partition("\n##")[0]
    kinds = []
    for block in re.findall(r"```toml\n(.*?)```", section, re.DOTALL):
        (experiment,) = make_plan({"task": "vqa", **tomllib.loads(block)}).arms.values()
        kinds.append((experiment.partition.kind, [source.kind for source in experiment.data.sources]))
    assert kinds == [
        ("iid", ["vqa_rad"]),
        ("modality", ["vqa_rad"]),
        ("institution", ["vqa_rad", "slake", "vqa_med"]),
    ]
