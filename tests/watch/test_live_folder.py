"""What the page is told: how far a run is, the time left, curves, who is slow, circles, pictures, the log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from comparison_folder import arm, write_comparison_folder
from live_run import CLIENTS, START, add_round, with_times, write_lines, write_live_run
from run_folder import change_result, png, write_run

from omnifm.results.result_folder import CellRecord, read_folder
from omnifm.utils.errors import ExperimentError
from omnifm.watch import live_folder
from omnifm.watch.arm_view import DRAWN_CLIENTS, MOST_ROUNDS, speed
from omnifm.watch.live_folder import LiveFolder, as_json
from omnifm.watch.pace import left_of_comparison, tracks
from omnifm.watch.story import story


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some process is at work in every folder."""
    monkeypatch.setattr(live_folder, "is_held", lambda folder: True)


def test_a_run_at_work(tmp_path: Path, held: None) -> None:
    found = LiveFolder(write_live_run(tmp_path / "run")).overview()
    about = [found[key] for key in ("name", "kind", "state", "done", "planned", "updated", "metric")]
    assert about == ["trial <1>", "run", "running", 8 + 4, 3 * 8, START + 40, "accuracy"]
    rows = {one["label"]: (one["state"], one["round"], one["rounds"], one["left"]) for one in found["arms"]}
    assert rows == {
        "fedavg": ("finished", 8, 8, None),
        "omnifm": ("training", 4, 8, 4 * 10.0),
        "later": ("waiting", 0, 0, None),
    }
    # The arm that waits is taken to be as long as the others, whose rounds take 1.5 and 10 seconds.
    assert found["left"] == 4 * 10.0 + 8 * (1.5 + 10.0) / 2
    scores = [one["score_of"] for one in found["arms"]]
    assert scores == ["test, before local training", "validation, before local training", ""]
    assert found["arms"][1]["score"] == pytest.approx(1 - 0.9**4)


def test_a_run_that_has_stopped_says_how_to_continue(tmp_path: Path) -> None:
    out = write_live_run(tmp_path / "a run")
    found = LiveFolder(out).overview()
    assert (found["state"], found["left"]) == ("stopped", None)
    assert found["resume"] == f"omnifm run --resume '{out}'"
    assert [one["state"] for one in found["arms"]] == ["finished", "stopped", "waiting"]


def test_a_finished_run(tmp_path: Path) -> None:
    found = LiveFolder(write_run(tmp_path / "run", {"fedavg": "fedavg"})).overview()
    assert (found["state"], found["resume"], found["done"], found["planned"]) == ("finished", "", 3, 3)


def test_a_new_round_is_seen(tmp_path: Path, held: None) -> None:
    live = LiveFolder(write_live_run(tmp_path / "run"))
    assert live.overview() is live.overview()
    add_round(tmp_path / "run", 5)
    assert live.overview()["done"] == 8 + 5
    view = live.arm(1, None)
    assert view is not None
    assert view["rounds"] == [1, 2, 3, 4, 5]
    assert view["scores"][0]["mean"][-1] == 0.75


def test_what_an_arm_shows(tmp_path: Path, held: None) -> None:
    view = LiveFolder(write_live_run(tmp_path / "run")).arm(1, None)
    assert view is not None
    assert [client["name"] for client in view["clients"]] == list(CLIENTS)
    assert view["clients"][0]["loss"] == [2 / r + 1 for r in (1, 2, 3, 4)]
    assert [one["point"] for one in view["scores"]] == ["before_local_training", "after_local_training"]
    assert view["scores"][0]["clients"][2] == pytest.approx([1 - 0.9**r for r in (1, 2, 3, 4)])
    assert view["speed"]["sentence"] == "<CT> is slow: it takes 3.0 times as long as the median hospital."
    assert [one["name"] for one in view["speed"]["clients"]] == ["<CT>", "T1", "PET/CT 東京"]
    circles = {one["name"]: one["circles"] for one in view["circles"]["clients"]}
    assert circles == {"T1": [None, 0, 0, 0], "<CT>": [None, 0, 0, 0], "PET/CT 東京": [None] * 4}
    assert view["test"] == []
    assert view["examples"] == []
    json.loads(as_json(view))


def test_another_metric(tmp_path: Path) -> None:
    live = LiveFolder(write_live_run(tmp_path / "run"))
    view, unknown = live.arm(1, "loss"), live.arm(1, "no such metric")
    assert view is not None
    assert unknown is not None
    assert view["scores"][0]["mean"] == [1 / r for r in (1, 2, 3, 4)]
    assert unknown["metric"] == "accuracy"
    assert live.arm(3, None) is None
    assert live.arm(-1, None) is None


def test_pictures_are_found_by_their_digest_alone(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", {"fedavg": "fedavg"})
    live = LiveFolder(out)
    assert live.picture("fedavg/pictures/0-0.png") is None
    view = live.arm(0, None)
    assert view is not None
    (example,) = view["examples"][0]["examples"]
    assert example["said"] == [{"caption": "healthy, is glioma", "right": False}]
    assert live.picture(example["given"][0]["digest"]) == png(0)


def test_a_picture_outside_the_arm_is_not_shown(tmp_path: Path) -> None:
    out = write_run(tmp_path / "run", {"fedavg": "fedavg"}, clients=("T1",))
    (tmp_path / "secret.png").write_bytes(png(9))
    panel = {"given": [{"title": "", "file": "../../secret.png"}], "found": None, "caption": "x", "right": None}
    change_result(out / "fedavg", panels={"T1": [panel]})
    view = LiveFolder(out).arm(0, None)
    assert view is not None
    assert view["examples"] == []


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="holds no run"):
        LiveFolder(tmp_path)


def test_a_damaged_log_is_said_and_a_mended_one_read(tmp_path: Path) -> None:
    out = write_live_run(tmp_path / "run")
    live, log = LiveFolder(out), out / "omnifm/metrics.jsonl"
    whole = log.read_text()
    log.write_text(whole + "rubbish\n")
    with pytest.raises(ExperimentError, match="cannot be read"):
        live.overview()
    log.write_text(whole)
    assert live.overview()["done"] == 12


def test_the_log_in_words(tmp_path: Path) -> None:
    cell = read_folder(write_live_run(tmp_path / "run", done=2)).arms[1].cells[0]
    lines = story(cell, "accuracy")
    assert [line.text for line in lines if line.round == 2] == [
        "3 hospitals trained, loss 2.000, 1.5 s.",
        r"The upload of T1 does not count: its norm\x1b[31m is too large.",
        "T1 and <CT> now learn together; PET/CT 東京 is alone.",
        "Validation before local training: accuracy 0.190.",
        "Validation after local training: accuracy 0.190.",
    ]
    assert [line.warns for line in lines if line.round == 2] == [False, True, False, False, False]
    assert lines[0].time == START + 10


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        ({"a": 1.0}, ""),
        ({"a": 1.0, "b": 1.1, "c": 1.2}, "All hospitals take about as long as each other."),
        ({"a": 1.0, "b": 1.0, "c": 1.0, "d": 4.0, "e": 2.0}, "d and e are slow: up to 4.0 times as long as the median"),
    ],
)
def test_who_is_slow(seconds: dict[str, float], sentence: str) -> None:
    clients = {name: {"seconds": value} for name, value in seconds.items()}
    cell = CellRecord(folder=Path(), seed=0, level=1.0, log=[{"event": "round", "round": 1, "clients": clients}])
    assert speed(cell)["sentence"].startswith(sentence)
    assert bool(speed(cell)["sentence"]) == bool(sentence)


def test_many_rounds_and_many_hospitals_stay_small(tmp_path: Path) -> None:
    clients, log = [f"h{number:03d}" for number in range(200)], []
    for r in range(1, 2 * MOST_ROUNDS + 2):
        log.append({"event": "round", "round": r, "clients": {c: {"loss": 1.0, "samples": 1} for c in clients}})
    scores = {c: {"accuracy": place / 200} for place, c in enumerate(reversed(clients))}
    log.append(
        {"event": "evaluation", "round": r, "split": "validation", "point": "after_local_training", "clients": scores}
    )
    out = write_run(tmp_path / "run", {"fedavg": "fedavg"})
    (out / "fedavg/result.json").unlink()
    write_lines(out / "fedavg/metrics.jsonl", log)
    view = LiveFolder(out).arm(0, None)
    assert view is not None
    assert len(view["rounds"]) <= MOST_ROUNDS
    assert view["rounds"][-1] == 2 * MOST_ROUNDS + 1
    assert (len(view["clients"]), view["left_out"]) == (DRAWN_CLIENTS, 200 - DRAWN_CLIENTS)
    assert [client["name"] for client in view["clients"]] == clients[-DRAWN_CLIENTS:], "those with the lowest scores"
    assert view["scores"][0]["mean"] == [pytest.approx(199 / 400)], "the mean is that of all"


def begun_comparison(tmp_path: Path) -> Path:
    """A comparison as it is before its record is written: one arm is tested, the other still tunes."""
    folder = write_comparison_folder(tmp_path / "c", [arm("fedavg"), arm("a/b", algorithm="fedprox")], lambda *_: 0.5)
    (folder / "comparison.json").write_text(json.dumps({"asked": {"algorithms": "all"}}))
    (folder / "cells/arm0").rename(folder / "cells/fedavg")
    (folder / "cells/arm1").rename(folder / "cells/a%2Fb")
    for path in (folder / "cells/a%2Fb").glob("*/result.json"):
        seed = json.loads(path.read_text())["seed"]
        path.with_name("experiment.toml").write_text(f'algorithm = "fedprox"\nseed = {seed}\n')
        path.unlink()
    shutil.copytree(folder / "cells/a%2Fb/p0-s0-r100", folder / "cells/a%2Fb/p1-s0-r100")
    return folder


def test_a_comparison_at_work(tmp_path: Path, held: None) -> None:
    found = LiveFolder(begun_comparison(tmp_path)).overview()
    assert (found["kind"], found["state"], found["name"]) == ("comparison", "running", "small")
    labels = [one["label"] for one in found["arms"]]
    tuned = [*(f"a/b (p0), seed {seed}" for seed in range(3)), "a/b (p1), seed 0"]
    assert labels == [*tuned, *(f"fedavg, seed {seed}" for seed in range(3))]
    assert found["arms"][4]["state"] == "finished"


def test_the_time_left_of_a_comparison_goes_by_the_rounds_a_second(tmp_path: Path) -> None:
    folder = begun_comparison(tmp_path)
    log = folder / "cells/fedavg/p0-s0-r100/metrics.jsonl"
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    write_lines(log, [with_times(line) for line in lines])
    found = tracks(read_folder(folder), held=True)
    done = sum(track.done for track in found)
    assert left_of_comparison(found, done + 5) == 5 * 10.0


def test_a_comparison_at_work_can_be_reported(tmp_path: Path) -> None:
    folder = read_folder(begun_comparison(tmp_path))
    assert [record.name for record in folder.finished] == ["fedavg"]
    assert (folder.metric, folder.seeds, folder.levels) == ("accuracy", [0, 1, 2], [1.0])
