"""Hospitals agree on classes and answers before the first round."""

from __future__ import annotations

from omnifm.data.client_stats import ClientStats
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.membership import agree
from omnifm.engines.flower.messages import ClientProperties
from omnifm.engines.flower.request_form import ANSWERS, LABELS
from omnifm.tasks.task import DataShape


def introduction(name: str, labels: tuple[str, ...], answers: tuple[str, ...]) -> ClientProperties:
    return ClientProperties(
        ClientStats(name, "CT", 9, 3, 3),
        DataShape(1, (8, 8), labels, answers),
        channels=1,
        axes=2,
        versions={},
    )


def test_classes_come_in_the_order_of_hospitals_and_answers_sorted() -> None:
    there = {
        "West": (introduction("West", ("z", "b"), ("yes", "left")), "w"),
        "East": (introduction("East", ("b", "a"), ("no", "yes")), "e"),
    }
    shape = agree(there, DeploySettings(hospitals=("West", "East"), labels=("q",))).shape
    assert shape.label_names == ("z", "b", "a", "q")
    assert shape.vocabulary == ("left", "no", "yes")


def test_who_comes_later_may_bring_an_answer_but_no_class() -> None:
    membership = agree({"A": (introduction("A", ("x",), ("yes",)), "a")}, DeploySettings(hospitals=("A", "B")))
    assert not membership.reject_reason(introduction("B", ("x",), ("no",)), "b")
    assert "classes that the run lacks: 'y', 'z'" in membership.reject_reason(introduction("B", ("y", "z"), ()), "b")


def test_one_hospital_cannot_fill_the_classes_or_answers_that_requests_hold() -> None:
    many, words = tuple(f"class {n}" for n in range(LABELS)), tuple(f"word {n}" for n in range(ANSWERS // 2))
    there = {
        "A": (introduction("A", many, ()), "a"),
        "B": (introduction("B", ("x", "y"), ("yes",)), "b"),
        "C": (introduction("C", ("y", "z"), words), "c"),
    }
    membership = agree(there, DeploySettings(hospitals=("A", "B", "C")))
    assert membership.shape.label_names == ("x", "y", "z")
    assert len(membership.shape.vocabulary) == len(words) + 1
    assert "classes that the run lacks" in membership.reject_reason(there["A"][0], "a")
    assert not membership.reject_reason(there["B"][0], "b")
