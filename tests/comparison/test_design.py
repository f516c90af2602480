from __future__ import annotations

from typing import Any

import pytest

from omnifm.comparison.arms import named_arms, swept
from omnifm.comparison.design import Design, make_design
from omnifm.utils.errors import ExperimentError

GRID = {"training": {"learning_rate": [0.1, 0.2], "epochs": [1, 3]}}


def design(names: str = "fedavg,fedprox", seeds: int = 2, **compare: Any) -> Design:
    document = {"name": "x", "seed": 5, "compare": compare, "federation": {"participation": 0.5}}
    return make_design(document, named_arms(names, document), seeds)


def test_points_are_all_combinations_of_the_grid() -> None:
    points = design(grid=GRID).arms[0].points
    assert [tuple(point.values()) for point in points] == [(0.1, 1), (0.1, 3), (0.2, 1), (0.2, 3)]
    assert points[0].keys() == {"training.learning_rate", "training.epochs"}


def test_a_cell_is_the_experiment_at_its_point() -> None:
    experiment = design(grid=GRID).arms[1].experiment(2, 9, 0.2)
    assert (experiment.algorithm, experiment.seed) == ("fedprox", 9)
    assert (experiment.training.learning_rate, experiment.training.epochs) == (0.2, 1)
    assert experiment.federation.participation == 0.2


def test_without_a_grid_there_is_one_point_and_nothing_to_tune() -> None:
    made = design()
    assert [arm.points for arm in made.arms] == [({},), ({},)]
    assert made.tuning() == []


def test_an_algorithm_may_have_a_grid_of_its_own() -> None:
    made = design(grid={"training": {"learning_rate": [0.1, 0.2]}}, grids={"fedprox": {"fedprox": {"mu": [0.1, 1.0]}}})
    assert [arm.points for arm in made.arms] == [
        ({"training.learning_rate": 0.1}, {"training.learning_rate": 0.2}),
        ({"fedprox.mu": 0.1}, {"fedprox.mu": 1.0}),
    ]


def test_unequal_budgets_are_refused() -> None:
    with pytest.raises(ExperimentError, match=r"budgets differ: 1 for 'fedavg' and 2 for 'fedprox'"):
        design(grids={"fedprox": {"fedprox": {"mu": [0.1, 1.0]}}})


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        ({"grid": {"training": {"learning_rate": []}}}, r"compare\.grid\.training\.learning_rate is an empty grid"),
        ({"grid": {"training": {"learning_rate": 0.1}}}, r"compare\.grid\.training\.learning_rate is an empty grid"),
        ({"grids": {"fedprox": {}}}, r"compare\.grids\.fedprox is an empty grid"),
        ({"grid": {"fedprox": {"mu": [1.0]}}}, r"put it under \[compare\.grids\.fedprox\]"),
        ({"grids": {"fedprocks": {"a": [1]}}}, r"compare\.grids\.fedprocks: there is no algorithm"),
        ({"grid": {"training": {"learning_rat": [1.0]}}}, r"In arm 'fedavg': .*Did you mean 'learning_rate'"),
        (
            {"grid": {"training": {"learning_rate": [-1.0]}}},
            r"In arm 'fedavg': training\.learning_rate: .*above 0",
        ),
        ({"grids": {"fedprox": {"fedprox": {"beta": [0.5]}}}}, r"In arm 'fedprox': Unknown key 'fedprox\.beta'"),
        ({"participation": [1.5]}, r"compare\.participation"),
        ({"tuning_seed": 1}, r"Unknown key 'compare\.tuning_seed'\. Did you mean 'tuning_seeds'"),
    ],
)
def test_mistakes_are_named(compare: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        design(**compare)


def test_cells_of_tuning_and_of_the_test() -> None:
    made = design(seeds=3, grid={"training": {"epochs": [1, 2]}}, participation=[0.2, 0.5, 1.0])
    assert [(c.arm.name, c.point, c.seed) for c in made.tuning()] == [
        (name, point, 5) for name in ("fedavg", "fedprox") for point in (0, 1)
    ]
    # The experiment's own participation is a half, so that is no further level.
    assert made.levels == (None, 0.2, 1.0)
    chosen = made.chosen({"fedprox": 1})
    assert [(c.arm.name, c.point, c.seed, c.level) for c in chosen] == [
        ("fedprox", 1, seed, level) for level in (None, 0.2, 1.0) for seed in (5, 6, 7)
    ]
    assert str(chosen[0].folder) == "cells/fedprox/p1-s5-r50"


def test_no_cell_is_played_twice_where_a_sweep_meets_a_level() -> None:
    document = {"name": "x", "compare": {"participation": [0.5]}}
    arms = swept(named_arms("fedavg", {}), "federation.participation=0.5,1.0")
    made = make_design(document, arms, 1)
    cells = made.chosen({arm.name: 0 for arm in arms})
    # The level of the first arm counts as the experiment's own, and that is a half: there is no further one.
    assert [str(cell.folder).rpartition("-")[2] for cell in cells] == ["r50", "r100"]
    # The other way about, a half is a further level, at which the second arm is already.
    made = make_design(document, arms[::-1], 1)
    cells = made.chosen({arm.name: 0 for arm in arms})
    assert [str(cell.folder).rpartition("-")[2] for cell in cells] == ["r100", "r50", "r50"]
    assert len({cell.folder for cell in cells}) == 3  # of the fourth, the second arm at a half again, there is none


@pytest.mark.parametrize("where", [{"seed": [1, 2]}, {}])
def test_the_seed_is_no_key_to_vary(where: dict[str, Any]) -> None:
    document = {"name": "x", "compare": {"grid": where}}
    arms = named_arms("fedavg", {}) if where else swept(named_arms("fedavg", {}), "seed=1,2")
    with pytest.raises(ExperimentError, match="'seed' cannot vary, --seeds says how many"):
        make_design(document, arms, 1)


def test_more_tuning_seeds() -> None:
    made = design(seeds=3, grid={"training": {"epochs": [1, 2]}}, tuning_seeds=2)
    assert {cell.seed for cell in made.tuning()} == {5, 6}


def test_folders_of_different_cells_differ() -> None:
    document = {"name": "x", "arms": {"a b": {"algorithm": "fedavg"}, "a+b": {"algorithm": "moon"}}}
    made = make_design(document, named_arms("a b,a+b", document), 2)
    cells = made.chosen({"a b": 0, "a+b": 0})
    assert len({cell.folder for cell in cells}) == len(cells) == 4


def test_settings_chosen_on_other_seeds_are_another_design() -> None:
    one, two = (design(grid=GRID, tuning_seeds=count).resolved() for count in (1, 2))
    assert one != two
    assert design(tuning_seeds=1).resolved() == design(tuning_seeds=2).resolved(), "without tuning there is none"
