from __future__ import annotations

import pytest
from helpers import same, small_arm

from omnifm.algorithms.registry import REFERENCES
from omnifm.comparison.arms import ABLATION, KNOWN, VARIANTS, named_arms, names_all, nested, swept, with_baselines
from omnifm.config.experiment import base_of, make_experiment
from omnifm.config.overrides import merged
from omnifm.engines.in_process import InProcess
from omnifm.utils.errors import ExperimentError


def test_all_are_the_references_omnifm_and_the_baselines() -> None:
    names = [arm.name for arm in named_arms("all", {})]
    assert names == [*REFERENCES, "omnifm", "local", "alone", "groups", "centralised"]
    assert len(REFERENCES) == 12


@pytest.mark.parametrize("arm", [*KNOWN.values(), *VARIANTS.values(), *ABLATION], ids=lambda arm: arm.name)
def test_every_arm_is_an_experiment(arm) -> None:  # type: ignore[no-untyped-def]
    experiment = make_experiment(merged({}, arm.changes))
    assert experiment.algorithm == arm.changes["algorithm"]


def test_ablation_changes_one_thing_at_a_time() -> None:
    plain = make_experiment({"algorithm": "omnifm"})
    several = dict.fromkeys(("omnifm-groups-no-gskr", "random-prototypes", "own-prototypes", "others-prototypes"), 2)
    for arm in ABLATION[1:]:
        if arm.changes["algorithm"] != "omnifm":
            continue
        experiment = make_experiment(merged({}, arm.changes))
        changed = [
            key
            for section in ("adapter", "omnifm", "federation")
            for key, value in vars(getattr(experiment, section, experiment.sections.get(section))).items()
            if value != vars(getattr(plain, section, plain.sections.get(section)))[key]
        ]
        assert len(changed) == several.get(arm.name, 1), arm.name


def test_what_an_experiment_gives_to_all_is_not_given_to_algorithms_as_published() -> None:
    given = {"federation": {"personal": ["norm"], "acceptance": "on"}}
    for name, expected in {"fedavg-plain": ((), "off"), "fedbn": (("norm",), "off"), "paper": ((), "off")}.items():
        (arm,) = named_arms(name, {})
        federation = make_experiment(merged(given, arm.changes)).federation
        assert (federation.personal, federation.acceptance) == expected, name
    for name in ("fedavg", "groups", "omnifm", "omnifm-groups"):
        (arm,) = named_arms(name, {})
        federation = make_experiment(merged(given, arm.changes)).federation
        assert (federation.personal, federation.acceptance) == (("norm",), "on"), name


def test_a_mistyped_algorithm_is_suggested() -> None:
    with pytest.raises(ExperimentError, match=r"--algorithms: there is no 'fedprocks'\. Did you mean 'fedprox'\?"):
        named_arms("fedavg,fedprocks", {})


def test_arms_of_the_file_have_names_too() -> None:
    document = {"rounds": 3, "arms": {"gentle": {"algorithm": "fedprox", "fedprox": {"mu": 0.5}}}}
    (arm,) = named_arms("gentle", document)
    assert (arm.kind, arm.changes) == ("own", document["arms"]["gentle"])
    assert base_of({**document, "compare": {}}) == {"rounds": 3}


def test_each_is_named_once_and_none_is_refused() -> None:
    assert [arm.name for arm in named_arms(" fedavg, moon,fedavg", {})] == ["fedavg", "moon"]
    assert [arm.name for arm in named_arms("paper, all", {})] == ["paper", *KNOWN]
    with pytest.raises(ExperimentError, match="--algorithms is empty"):
        named_arms(" ,", {})


@pytest.mark.parametrize(
    ("names", "expected"), [(None, True), ("all", True), ("fedbn, all", True), ("gpfl,fedavg", False), ("", False)]
)
def test_who_is_named_must_serve(names: str | None, expected: bool) -> None:
    assert names_all(names) is expected


def test_the_hospitals_alone_are_always_there_once() -> None:
    arms = with_baselines(named_arms("local,fedavg", {}))
    assert [arm.name for arm in arms] == ["local", "fedavg", "alone"]


@pytest.mark.parametrize(
    ("sweep", "values"),
    [
        ("adapter.alignment=0.0,0.5", [0.0, 0.5]),
        ("training.optimizer=sgd,adamw", ["sgd", "adamw"]),
        ("omnifm.personal=[],['head','backbone']", [[], ["head", "backbone"]]),
    ],
)
def test_a_sweep_is_an_arm_for_each_value(sweep: str, values: list[object]) -> None:
    arms = swept(named_arms("omnifm", {}), sweep)
    section, key = sweep.partition("=")[0].split(".")
    assert [arm.changes[section][key] for arm in arms] == values
    assert [arm.name for arm in arms] == [f"omnifm {section}.{key}={value}" for value in values]
    assert {arm.kind for arm in arms} == {"sweep"}


@pytest.mark.parametrize("sweep", ["adapter.alignment", "=1,2", "adapter.alignment="])
def test_a_sweep_without_key_or_values_is_refused(sweep: str) -> None:
    with pytest.raises(ExperimentError, match=r"--sweep .*write it as key=a,b,c"):
        swept(named_arms("omnifm", {}), sweep)


def test_nested() -> None:
    assert nested("a.b.c", 1) == {"a": {"b": {"c": 1}}}


def test_without_the_bank_omnifm_is_its_network_under_fedavg() -> None:
    # So the ablation needs no further control for "the same network, the same parts at home, no bank".
    changes = next(arm for arm in ABLATION if arm.name == "no-gskr").changes
    adapter = {"grid": 7, "token_dim": 8}
    one = small_arm("omnifm", adapter={**adapter, **changes["adapter"]}, omnifm={"personal": ["backbone"]})
    other = small_arm("fedavg", adapter={**adapter, "use": "on"}, federation={"personal": ["backbone"]})
    states = []
    for arm in (one, other):
        with InProcess(arm.runtime) as engine:
            states.append(arm.federation(engine).run(arm.start()))
    assert same(states[0].server.shared, states[1].server.shared)
    assert same(states[0].clients["MRI"].personal, states[1].clients["MRI"].personal)
