"""A run over letters ends with the weights of the same run in one process, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_grid import FakeGrid, write_hospital
from small_run import document, hashes, log_lines, write_images

from omnifm import runs
from omnifm.algorithms.state import Broadcast
from omnifm.engines.flower import afar, hospitals
from omnifm.engines.flower.deploy import DeploySettings
from omnifm.engines.flower.post import Post
from omnifm.engines.in_process import InProcess
from omnifm.experiment import Plan, make_plan
from omnifm.playing import ThisMachine

NAMES = ("CT", "MRI", "PET")
FOLDERS = dict(zip("abc", NAMES, strict=True))
FOUR = ("fedavg", "scaffold", "ditto", "omnifm")


@dataclass
class Town:
    """Hospitals with data, and an experiment in which all of them take part."""

    root: Path
    sources: list[dict[str, Any]]

    def plan(self, *arms: str, **changes: Any) -> Plan:
        content = document(self.root / "data", self.sources, *arms)
        content["federation"] |= {"rounds": 3, "evaluate_every": 1}
        content["deploy"] = {"hospitals": list(NAMES), "poll": 0.001, **changes.pop("deploy", {})}
        for key, value in changes.items():
            content[key] = {**content.get(key, {}), **value}
        return make_plan(content)

    def grid(self, folder: Path, **changes: Any) -> FakeGrid:
        """Return a grid of hospitals that keep their states in a folder; ``changes`` are by hospital."""
        return FakeGrid(
            {
                source["modality"]: write_hospital(
                    folder,
                    source["modality"],
                    **{
                        "data": {"root": str(self.root / "data"), "sources": [source]},
                        **changes.get(source["modality"], {}),
                    },
                )
                for source in self.sources
            }
        )


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    root = tmp_path_factory.mktemp("town")
    return Town(root, write_images(root / "data", FOLDERS))


def afar_played(plan: Plan | None, grid: FakeGrid, out: Path, resume: bool = False) -> dict[str, str]:
    def office(settings: DeploySettings) -> Post:
        return Post(grid, settings.max_bytes, 100.0)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(afar, "Hospitals", lambda *a: hospitals.Hospitals(*a, clock=grid.time))
        afar.play_afar(plan, out, resume, office)
    return hashes(out)


class Missing(InProcess):
    """Some hospitals miss some rounds."""

    missed: frozenset[tuple[str, int]] = frozenset()

    def update(self, broadcast: Broadcast, clients: Sequence[str]) -> Any:
        return super().update(broadcast, [name for name in clients if (name, broadcast.round) not in self.missed])


class Here(ThisMachine):
    def __init__(self, missed: Sequence[tuple[str, int]] = ()) -> None:
        super().__init__()
        self.missed = frozenset(missed)

    def engine(self, name: str, arm: Any, snapshots: Any) -> InProcess:
        engine = Missing(arm.site, 1, snapshots.states)
        engine.missed = self.missed
        return engine


def here_played(plan: Plan, out: Path, missed: Sequence[tuple[str, int]] = ()) -> dict[str, str]:
    runs.play(runs.open_run(out, plan), out, Here(missed), lambda name, arm: ())
    return hashes(out)


def events(out: Path) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in (out / "deploy.jsonl").read_text().splitlines()]
    return [(line["event"], line.get("client", "")) for line in lines]


def test_four_algorithms_end_with_the_same_weights(town: Town, tmp_path: Path) -> None:
    plan, grid = town.plan(*FOUR), town.grid(tmp_path / "hospitals")
    here = here_played(plan, tmp_path / "here")
    assert len(set(here.values())) == 4
    assert afar_played(plan, grid, tmp_path / "afar") == here
    for arm in FOUR:
        found, expected = (json.loads((tmp_path / p / arm / "result.json").read_text()) for p in ("afar", "here"))
        assert found.pop("panels") == {name: [] for name in NAMES}  # pictures are of patients, and stay with them
        assert all(expected.pop("panels").values())
        assert found == expected
        assert log_lines(tmp_path / "afar" / arm) == log_lines(tmp_path / "here" / arm)
    assert not list((tmp_path / "afar").rglob("clients/*"))


def test_a_hospital_is_asked_once_a_round(town: Town, tmp_path: Path) -> None:
    grid = town.grid(tmp_path / "hospitals")
    afar_played(town.plan("omnifm"), grid, tmp_path / "afar")
    asked = [group for name, group in grid.starts if name == "CT"]
    # It says who it is; trains; is judged and trains twice, is judged; and is tested in two readings.
    assert asked[:5] == ["hello", "round 1", "round 2", "round 3", "round 4"]
    assert len(asked) == 7
