"""Hospitals agree on classes and answers before the first round."""

from __future__ import annotations

from omnifm.arm import Holding
from omnifm.engines.flower.deploy import DeploySettings
from omnifm.engines.flower.letters import Introduction
from omnifm.engines.flower.roster import agree
from omnifm.tasks.task import DataShape


def introduction(name: str, labels: tuple[str, ...], answers: tuple[str, ...]) -> Introduction:
    return Introduction(Holding(name, "CT", 9, 3, 3), DataShape(1, (8, 8), labels, answers), 1, 2, {})


def test_classes_come_in_the_order_of_hospitals_and_answers_sorted() -> None:
    there = {
        "West": (introduction("West", ("z", "b"), ("yes", "left")), "w"),
        "East": (introduction("East", ("b", "a"), ("no", "yes")), "e"),
    }
    shape = agree(there, DeploySettings(hospitals=("West", "East"), labels=("q",))).shape
    assert shape.label_names == ("z", "b", "a", "q")
    assert shape.vocabulary == ("left", "no", "yes")


def test_who_comes_later_may_bring_an_answer_but_no_class() -> None:
    roster = agree({"A": (introduction("A", ("x",), ("yes",)), "a")}, DeploySettings(hospitals=("A", "B")))
    assert not roster.objection(introduction("B", ("x",), ("no",)), "b")
    assert "classes that the run has not: 'y', 'z'" in roster.objection(introduction("B", ("y", "z"), ()), "b")
