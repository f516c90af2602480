"""The arms of a comparison: algorithms, baselines, ablations and controls, each as changes to the experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from omnifm.algorithms.registry import ALGORITHM_SETTINGS, REFERENCES
from omnifm.config.deprecated import upgraded
from omnifm.config.overrides import merged
from omnifm.config.toml import Document, parse
from omnifm.utils.errors import ExperimentError, did_you_mean

ArmKind = Literal["reference", "omnifm", "baseline", "ablation", "control", "sweep", "own"]


@dataclass(frozen=True)
class ArmPlan:
    """One arm: the experiment with these changes. ``about`` says what the arm is, where its name does not."""

    name: str
    kind: ArmKind
    changes: Document
    about: str = ""


LOCAL = ArmPlan("local", "baseline", {"algorithm": "local"}, "every hospital alone, bare backbone")
WITH_ADAPTER = ArmPlan(
    "alone", "baseline", {"algorithm": "local", "adapter": {"use": "on"}}, "every hospital alone, OmniFM's own network"
)
ORACLE = ArmPlan(
    "groups",
    "baseline",
    {"algorithm": "grouped", "federation": {"personal": ["norm"]}},
    "FedAvg within the declared groups, personal normalisation: the oracle, told who is alike",
)
OMNIFM = ArmPlan("omnifm", "omnifm", {"algorithm": "omnifm"})
BASELINES = (
    LOCAL,
    WITH_ADAPTER,
    ORACLE,
    ArmPlan("centralised", "baseline", {"algorithm": "centralised"}, "all data in one place"),
)
KNOWN = {
    **{name: ArmPlan(name, "reference", {"algorithm": name}) for name in REFERENCES},
    **{arm.name: arm for arm in (OMNIFM, *BASELINES)},
}
"""The arms of ``--algorithms all``."""
ALL = "all"


def _variant(name: str, kind: ArmKind, about: str, **changes: Any) -> ArmPlan:
    return ArmPlan(name, kind, {"algorithm": "omnifm", **changes}, about)


OMNIFM_GROUPS = _variant("omnifm-groups", "control", "circles are the declared groups", omnifm={"circles": "group"})
VARIANTS = {
    arm.name: arm
    for arm in (
        ArmPlan(
            "fedavg-plain",
            "reference",
            {"algorithm": "fedavg", "federation": {"personal": [], "acceptance": "off"}},
            "FedAvg as published, whatever the experiment gives to all",
        ),
        ArmPlan(
            "fedbn",
            "reference",
            {"algorithm": "fedavg", "federation": {"personal": ["norm"], "acceptance": "off"}},
            "FedBN (Li et al., ICLR 2021): FedAvg with personal normalisation",
        ),
        _variant(
            "paper",
            "reference",
            "OmniFM as in the paper: all averaged over all clients but the suffix",
            omnifm={"variant": "paper"},
            federation={"personal": [], "acceptance": "off"},
        ),
        OMNIFM_GROUPS,
    )
}
"""Further arms that ``--algorithms`` knows by name."""

_DECLARED = {"circles": "group"}  # of other retrievals than all, the evidence for circles is none
ABLATION = (
    OMNIFM,
    _variant("no-circles", "ablation", "no circles: the backbone is personal", omnifm={"circles": "off"}),
    _variant("no-acceptance", "ablation", "clients take all they receive", federation={"acceptance": "off"}),
    _variant(
        "no-gskr",
        "ablation",
        "own token in place of prototypes, so that no circles are found: this network, its backbone personal",
        adapter={"retrieval": False},
    ),
    _variant("no-eca", "ablation", "mean of the prototypes in place of attention", adapter={"fusion": False}),
    _variant("no-prefix", "ablation", "no prefix", adapter={"prefix": False}),
    _variant("no-suffix", "ablation", "no suffix", adapter={"suffix": False}),
    _variant("learned-keys", "ablation", "prototypes of learned tokens, as in the paper", adapter={"keys": "learned"}),
    _variant("no-spalign", "ablation", "no spectral-proximal loss", adapter={"alignment": 0.0}),
    _variant(
        "random-prototypes", "control", "as many fixed random vectors", omnifm={"retrieve": "random", **_DECLARED}
    ),
    _variant(
        "own-prototypes", "control", "each hospital's own prototypes only", omnifm={"retrieve": "own", **_DECLARED}
    ),
    _variant(
        "others-prototypes", "control", "other hospitals' prototypes only", omnifm={"retrieve": "others", **_DECLARED}
    ),
    OMNIFM_GROUPS,
    _variant(
        "omnifm-groups-no-gskr",
        "control",
        "circles are the declared groups, own token in place of prototypes: what prototypes give beside circles",
        omnifm={"circles": "group"},
        adapter={"retrieval": False},
    ),
    ORACLE,
    ArmPlan(
        "fedavg-network",
        "control",
        {"algorithm": "fedavg", "adapter": {"use": "on"}},
        "OmniFM's network under FedAvg: all averaged but the suffix and what the experiment makes personal",
    ),
)
"""OmniFM, its pieces off one at a time, and controls of the same capacity.

``groups`` has the circles, declared ones, and neither adapter nor bank.
"""


def named_arms(names: str, document: Document) -> list[ArmPlan]:
    """Return the arms of a list with commas: algorithms, arms of the experiment file, or ``all`` those of ``KNOWN``.

    Raises:
        ExperimentError: there is no such algorithm or arm.
    """
    own = {name: ArmPlan(name, "own", changes) for name, changes in (document.get("arms") or {}).items()}
    own = {name: arm for name, arm in own.items() if name not in KNOWN or KNOWN[name].changes != arm.changes}
    registered = {name: ArmPlan(name, "own", {"algorithm": name}) for name in ALGORITHM_SETTINGS if name not in KNOWN}
    known = {**KNOWN, **VARIANTS, **registered, **own}
    chosen: dict[str, ArmPlan] = {}
    for name in (name.strip() for name in names.split(",")):
        if name == ALL:
            chosen |= KNOWN
        elif name in known:
            chosen[name] = known[name]
        elif name:
            raise ExperimentError(f"--algorithms: there is no {name!r}. {did_you_mean(name, known)}")
    if not chosen:
        raise ExperimentError("--algorithms is empty: name some, with commas between them, or 'all'.")
    return list(chosen.values())


def names_all(names: str | None) -> bool:
    """Tell whether arms were named all together, or not at all, so that one that cannot serve may be left out."""
    return names is None or ALL in [name.strip() for name in names.split(",")]


def swept(arms: Iterable[ArmPlan], sweep: str) -> list[ArmPlan]:
    """Return each arm once for each value of ``key=a,b,c``.

    Raises:
        ExperimentError: the sweep names no key or no value.
    """
    key, _, text = sweep.partition("=")
    try:
        values = parse(f"values = [{text}]")["values"]
    except ValueError:
        values = [value.strip() for value in text.split(",")]  # bare words are strings
    if not key.strip() or not values:
        raise ExperimentError(f"--sweep {sweep!r}: write it as key=a,b,c, for example adapter.alignment=0.0,0.1,1.0.")
    return [
        replace(
            arm,
            name=f"{arm.name} {key}={value}",
            kind="sweep",
            changes=merged(arm.changes, upgraded(nested(key, value))),
        )
        for arm in arms
        for value in values
    ]


def with_baselines(arms: Sequence[ArmPlan]) -> list[ArmPlan]:
    """Add the baselines that gains are measured against: the hospitals alone, in both forms."""
    names = {arm.name for arm in arms}
    return [*arms, *(baseline for baseline in (LOCAL, WITH_ADAPTER) if baseline.name not in names)]


def nested(key: str, value: Any) -> Document:
    """Return ``{"a": {"b": value}}`` for the key ``a.b``."""
    for step in reversed(key.strip().split(".")):
        value = {step: value}
    return dict(value)
