"""The studies behind the results: each can be designed, its rows built, and its page says what its folder holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from comparison_folder import arm, write_comparison_folder
from evidence.claims import decide
from evidence.figures import Figures
from evidence.outcomes import Outcome
from evidence.pages import index_page, study_page
from evidence.studies import Study, read_studies
from helpers import LABELS, made_client
from small_run import write_experiment

from omnifm.comparison.comparison_folder import ComparisonOptions
from omnifm.config.experiment import make_experiment
from omnifm.config.overrides import merged
from omnifm.data.federated_dataset import FederatedDataset
from omnifm.runs.arm import make_arm

ROOT = Path(__file__).resolve().parents[2]
LIST = ROOT / "examples/results/studies.toml"
STUDIES = {study.name: study for small in (False, True) for study in read_studies(LIST, small=small)}
SCENARIOS = ("intra", "mixed", "cross")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_designed(name: str) -> None:
    study = STUDIES[name]
    design = study.options.design(study.plan().document)
    assert design.name == name
    assert len({len(arm.points) for arm in design.arms}) == 1
    given = {arm.name: arm.experiment(0, 0).federation for arm in design.arms}
    assert all(given[row].acceptance == "on" for row in ("local", "omnifm", "groups", "fedavg") if row in given)
    assert all(given[row].acceptance == "off" for row in ("fedavg-plain", "fedbn", "paper") if row in given)
    assert {"omnifm", "local", "paper"} <= given.keys()
    expected = {
        "omnifm": (),
        "omnifm-groups": (),
        "paper": (),
        "fedavg": ("norm",),
        "fedbn": ("norm",),
        "groups": ("norm",),
    }
    assert {row: given[row].personal for row in expected if row in given}.items() <= expected.items()


def test_the_list_has_all_tasks_in_all_scenarios_and_claims_of_known_studies() -> None:
    tasks = ("classification", "segmentation", "super-resolution", "vqa", "image-fusion")
    assert STUDIES.keys() >= {f"{scenario}-{task}" for scenario in SCENARIOS for task in tasks}
    named = set(re.findall(r"^([\w-]+) = \{", LIST.read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {name for name, study in STUDIES.items() if study.claims}
    files = {path.name for path in LIST.parent.glob("*.toml")} - {LIST.name}
    assert files == {study.file.name for study in STUDIES.values()}


@pytest.mark.parametrize("name", ["mixed-classification", "mixed-ablation"])
def test_every_row_can_be_built(name: str) -> None:
    study = STUDIES[name]
    clients = tuple(made_client(name, name[:2], (0, 1, 2), seed) for seed, name in enumerate(("CT-1", "CT-2", "MR")))
    for one in study.options.design(study.plan().document).arms:
        small = merged(one.document, {"classification": {"width": 8}, "adapter": {"grid": 7, "token_dim": 8}})
        assert make_arm(make_experiment(small), FederatedDataset(clients, LABELS)).participants, one.name


def test_the_commands_of_the_pages_are_those_of_the_studies() -> None:
    command = STUDIES["mixed-ablation"].command(ROOT)
    assert command.startswith("omnifm compare examples/results/phantom-classification.toml --algorithms fedbn,paper ")
    assert "--ablate" in command
    assert "data.root" not in command
    assert """--set 'data.root="DIR"'""" in STUDIES["real-vqa"].command(ROOT)


@pytest.mark.parametrize("target", ["results", "results-small"])
def test_the_make_targets(target: str) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^\.PHONY:.* {target}\b", text, re.MULTILINE)
    script = re.search(rf"^{target}: .*\n\t\$\(BIN\)/python (\S+)", text, re.MULTILINE)
    assert script
    assert (ROOT / script[1]).exists()


CLAIMS = {"over_local": 0.07, "over_references": 0.05, "under_groups": 0.01, "no_harm": True, "leads": True}
LEVEL = {"local": 0.5, "fedavg": 0.52, "fedbn": 0.54, "groups": 0.61, "omnifm": 0.6, "centralised": 0.7}
KINDS = {"omnifm": "omnifm", "fedavg": "reference", "fedbn": "reference"}


def figures_of(folder: Path, level: dict[str, float], seeds: int = 3) -> Figures:
    """Write a comparison of two hospitals in which seeds differ by 0.01 for all rows, and OmniFM by 0.002 more."""

    def score(name: str, seed: int, _: float, __: str, client: int) -> float:
        return level[name] + 0.01 * seed + 0.1 * client + (0.002 * seed if name == "omnifm" else 0.0)

    arms = [arm(name, KINDS.get(name, "baseline")) for name in level]
    write_comparison_folder(folder, arms, score, clients=("T2-1", "T2-2"), seeds=range(seeds))
    circles = [{}, {"0": ["T2-1", "T2-2"]}, {"0": ["T2-1", "T2-2"]}]
    for cell in folder.glob(f"cells/arm{list(level).index('omnifm')}/*"):
        lines = [json.loads(line) for line in (cell / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        for line in lines:
            if line["event"] == "round":
                line["report"] = {"circles": circles[line["round"] - 1]}
        (cell / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return Figures.read(folder)


def study(**claims: Any) -> Study:
    return Study("mixed-made", LIST.parent / "phantom-vqa.toml", "", (), ComparisonOptions("omnifm"), claims or CLAIMS)


def test_a_page_has_the_figures_of_the_folder(tmp_path: Path) -> None:
    figures = figures_of(tmp_path / "made", LEVEL)
    page = study_page(study(), figures, ROOT)
    # OmniFM: 0.6, 0.612, 0.624 at the first hospital, 0.1 more at the second.
    assert "| `omnifm` | 0.662 ± 0.012 | 0.612 | +0.102 [" in page
    assert "| `local` | 0.560 ± 0.010 | 0.510 |" in page
    assert "| T2-1 | MR | 30 / 10 / 12 | +0.102 ± 0.001 | +0.110 ± 0.000 | +0.040 ± 0.000 | +0.020 ± 0.000 |" in page
    assert "| `omnifm` | 100 % | 100 % [100 %] | 1 | 0 | 2 |" in page
    assert "| at least +0.050 from the best reference, fedbn | +0.062 ± 0.001 | yes |" in page
    outcome = Outcome.of(study(), figures, ROOT)
    index = index_page({"Studies": [study(), STUDIES["mixed-vqa"]]}, {"mixed-made": outcome}, {"mixed": outcome})
    assert "[mixed-made](mixed-made.md) | accuracy | 0.560 | 0.662 | 0.670 | 0.600 (`fedbn`) | 0.760 | +0.102" in index
    assert "| `omnifm` | 0.662 ± 0.012 |" in index
    assert "Planned and not run yet: `mixed-vqa`." in index


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({}, {"leads"}),  # the oracle is ahead by 0.008, which is more than a standard error
        ({"groups": 0.6}, set()),
        ({"groups": 0.63}, {"leads", "under_groups"}),
        ({"fedbn": 0.56}, {"leads", "over_references"}),
        ({"local": 0.55, "groups": 0.6}, {"over_local"}),
        ({"local": 0.62, "groups": 0.6}, {"over_local", "no_harm", "leads"}),
    ],
)
def test_claims_hold_or_do_not(tmp_path: Path, changes: dict[str, float], fails: set[str]) -> None:
    figures = figures_of(tmp_path / "made", {**LEVEL, **changes})
    holds = {name: next(decide({name: limit}, figures)).holds for name, limit in CLAIMS.items()}
    assert {name for name, held in holds.items() if not held} == fails


def test_one_seed_does_not_tell_of_harm_and_a_missing_row_decides_nothing(tmp_path: Path) -> None:
    one = figures_of(tmp_path / "one", LEVEL, seeds=1)
    assert {next(decide({name: True}, one)).holds for name in ("no_harm", "leads", "above_local")} == {None}
    lacking = figures_of(tmp_path / "lacking", {"local": 0.5, "omnifm": 0.6})
    assert next(decide({"under_groups": 0.01}, lacking)).measured == "no row 'groups'"


@pytest.mark.slow
@pytest.mark.process
def test_a_study_is_run_once_and_a_changed_one_is_not_mistaken_for_it(tmp_path: Path) -> None:
    write_experiment(tmp_path, federation={"rounds": 2, "evaluate_every": 1, "acceptance": "on"}, arms={})
    entry: dict[str, Any] = {"name": "tiny", "file": "tiny.toml", "rows": "groups, omnifm", "seeds": 1}
    results = runner(tmp_path)

    def listed(**changes: Any) -> None:
        (tmp_path / "studies.toml").write_text(tomli_w.dumps({"studies": [{**entry, **changes}]}), encoding="utf-8")

    listed()
    assert results() == (0, "")
    page = (tmp_path / "pages/tiny.md").read_text(encoding="utf-8")
    assert all(f"| `{row}` | 0." in page for row in ("groups", "omnifm", "local", "alone"))
    before = (tmp_path / "out/tiny/comparison.json").stat().st_mtime_ns
    assert results() == (0, "")
    assert (tmp_path / "out/tiny/comparison.json").stat().st_mtime_ns == before
    listed(set=["federation.rounds=3"])
    status, said = results()
    assert status == 1
    assert "federation.rounds: 2 then, 3 now" in said.replace("\n", " ")
    assert "not run yet" in (tmp_path / "pages/index.md").read_text(encoding="utf-8")


def runner(folder: Path) -> Callable[[], tuple[int, str]]:
    command = [sys.executable, ROOT / "benchmarks/results.py", "--studies", folder / "studies.toml"]
    command += ["--out", folder / "out", "--pages", folder / "pages", "--data", folder / "data", "--workers", "1"]

    def results() -> tuple[int, str]:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr if done.returncode else ""

    return results
