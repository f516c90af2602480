"""What a report says of circles, from logs written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from run_folder import change_rounds, write_run

from omnifm.results.circle_history import CircleHistory, circle_table
from omnifm.results.findings import read_findings

CLIENTS = ("T2-1", "CT-1", "T2-2", "PET-1", "T2-3")
T2, PAIR = ["T2-1", "T2-2", "T2-3"], ["CT-1", "PET-1"]


def history(out: Path, *circles: Any, accepted: Mapping[str, Any] | None = None) -> CircleHistory:
    (found,) = histories(out, *circles, accepted=accepted)
    return found


def histories(out: Path, *circles: Any, accepted: Mapping[str, Any] | None = None) -> list[CircleHistory]:
    """Return the circles of a run whose reports name these, round by round."""
    write_run(out / "r", {"fedavg": "fedavg", "omnifm": "omnifm"}, CLIENTS, rounds=len(circles))
    reports = {place: {"circles": found} for place, found in enumerate(circles, start=1)}
    change_rounds(out / "r/omnifm", reports, accepted or {})
    return read_findings(out / "r").circles


def test_clients_of_a_circle_stand_together(tmp_path: Path) -> None:
    found = history(tmp_path, {}, {"0": T2}, {"0": T2[:2], "1": PAIR})
    assert found.arm == "omnifm"
    assert found.clients == ["T2-1", "T2-2", "CT-1", "PET-1", "T2-3"]
    assert found.numbers.fillna(-1).loc["T2-3"].tolist() == [-1, 0, -1]
    assert found.sizes == {1: [], 2: [3], 3: [2, 2]}


@pytest.mark.parametrize(
    ("circles", "text"),
    [
        (
            ({}, {"0": T2, "1": PAIR}, {"0": T2, "1": PAIR}, {"0": T2, "1": PAIR}),
            "2 circles of 3 and 2 hospitals learn together, the same since round 2. No hospital is alone.",
        ),
        (
            ({"0": T2}, {"0": T2}),
            "3 hospitals learn together, the same in all rounds. CT-1 and PET-1 are each alone.",
        ),
        (
            ({"0": T2}, {"0": T2, "1": PAIR}, {"0": [*T2, "CT-1"]}),
            "4 hospitals learn together; this changed as late as in round 3, the last one. PET-1 is alone.",
        ),
        (({"0": T2}, {}, {}), "since round 2 every hospital has been alone again."),
        # The same hospitals under another number are the same circle.
        (({}, {"0": T2}, {"7": T2}), "3 hospitals learn together, the same since round 2. CT-1 and PET-1 are"),
    ],
)
def test_a_sentence_says_what_happened(tmp_path: Path, circles: Any, text: str) -> None:
    assert history(tmp_path, *circles).sentence.startswith(f"omnifm: {text}")


@pytest.mark.parametrize(
    ("accepted", "text"),
    [
        ({"T2-1": [1, 0.0, 0.0], "CT-1": [1, 0.5, 0.0]}, " T2-1 mostly kept its own weights: on average it took less"),
        (
            {"T2-1": [1, 0.0, 0.0], "CT-1": [0.5, 0, 0.0]},
            " T2-1 and CT-1 mostly kept their own weights: on average they",
        ),
        ({"T2-1": [1, 0.5, 0.0]}, ""),
    ],
)
def test_who_mostly_keeps_its_own_weights_is_named(tmp_path: Path, accepted: Mapping[str, Any], text: str) -> None:
    sentence = history(tmp_path, *[{"0": T2, "1": PAIR}] * 3, accepted=accepted).sentence
    assert text in sentence
    assert ("mostly kept" in sentence) == bool(text)


def test_the_table_says_circle_retrievals_and_acceptance(tmp_path: Path) -> None:
    accepted = {**{name: [1, 1, 1] for name in CLIENTS}, "T2-2": [1, 0.5, 0]}
    table = circle_table(history(tmp_path, {}, *[{"0": T2}] * 2, accepted=accepted))
    heads = [head for _, head in table.cells.columns]
    assert heads == ["% retrieved from its circle", "mean accepted", "all", "half", "none"]
    # Each retrieves 3 times its own and once each of the four others.
    assert table.cells.loc[("circle 0", "T2-2")].tolist() == ["71", "0.50", "1", "1", "1"]
    assert table.cells.loc[("alone", "CT-1")].tolist() == ["43", "1.00", "3", "0", "0"]
    assert "of the last 2 rounds" in table.title


def test_of_many_clients_there_are_sizes_only(tmp_path: Path) -> None:
    found = history(tmp_path, [], [2, 3], [3, 2], [2, 2], accepted={name: [1, 1, 1, 0.5] for name in CLIENTS})
    assert found.sizes == {1: [], 2: [3, 2], 3: [3, 2], 4: [2, 2]}
    assert found.sentence == (
        "omnifm: 2 circles of 2 and 2 hospitals learn together; this changed as late as in round 4, the last one. "
        "1 hospital is alone."
    )
    assert [head for _, head in circle_table(found).cells.columns][-3:] == ["all", "half", "none"]


@pytest.mark.parametrize("circles", [None, {}, [], 3, {"x": ["T2-1"]}, {"0": 2}, ["a"]])
def test_where_there_are_none_there_is_no_history(tmp_path: Path, circles: Any) -> None:
    assert histories(tmp_path, circles, circles) == []


def test_without_acceptance_and_retrievals_the_table_has_circles_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "r", {"fedavg": "fedavg"}, CLIENTS, rounds=2)
    change_rounds(tmp_path / "r/fedavg", {2: {"circles": {"0": T2}}}, {})
    (found,) = read_findings(tmp_path / "r").circles
    table = circle_table(found)
    assert table.cells["", "% retrieved from its circle"].tolist() == ["–"] * 5  # noqa: RUF001
    assert table.cells.shape == (5, 1)


def test_where_nobody_was_in_a_circle_it_is_said(tmp_path: Path) -> None:
    assert histories(tmp_path, {}, {}) == []
    found = read_findings(tmp_path / "r")
    assert list(found.circle_sentences) == ["omnifm"], "and nothing of an algorithm without circles"
    assert found.circle_sentences["omnifm"].startswith("omnifm: no two hospitals were found alike")
