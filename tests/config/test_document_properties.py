"""Documents that are merged, overridden and compared, whatever is in them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from omnifm.config.experiment import read_plan
from omnifm.config.overrides import apply_override, differences, merged
from omnifm.utils.errors import ExperimentError

keys = st.sampled_from(["a", "b", "c", "d"])
values = st.integers(-5, 5) | st.booleans() | st.text(max_size=4) | st.lists(st.integers(0, 3), max_size=3)
documents = st.dictionaries(
    keys, st.recursive(values, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=6), max_size=4
)


def leaves(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a document by their path."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def refusal(attempt: Callable[[Any, Any], object], *arguments: Any) -> str:
    """Return how an attempt is refused, or nothing; any other error is a failure of the test."""
    try:
        attempt(*arguments)
    except ExperimentError as error:
        return str(error)
    return ""


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[key]
    return document


def at_or_none(document: Any, path: str) -> Any:
    try:
        return at(document, path)
    except (KeyError, TypeError):
        return None


@given(documents, documents)
def test_merging_brings_all_changes_and_keeps_the_rest(base: dict[str, Any], changes: dict[str, Any]) -> None:
    before = copy.deepcopy(base)
    found = merged(base, changes)
    assert base == before
    assert merged(found, changes) == found, "a change that is made twice is made once"
    new = leaves(changes)
    assert new.items() <= leaves(found).items()
    for path, value in leaves(base).items():
        steps = path.split(".")
        overridden = any(".".join(steps[:n]) in new for n in range(1, len(steps) + 1))
        assert overridden or isinstance(at_or_none(changes, path), dict) or at(found, path) == value


@given(documents)
def test_merging_nothing_changes_nothing(base: dict[str, Any]) -> None:
    assert merged(base, {}) == base
    assert merged({}, base) == base
    assert merged(base, base) == base


@given(documents, documents)
def test_differences_are_those_in_which_documents_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differences(one, one) == []
    found, back = differences(one, other), differences(other, one)
    assert [line.partition(": ")[0] for line in found] == [line.partition(": ")[0] for line in back]
    assert bool(found) == (one != other)
    for line in found:
        path = line.partition(": ")[0]
        assert at_or_none(one, path) != at_or_none(other, path)


@given(documents, st.lists(keys, min_size=1, max_size=3), values)
def test_an_override_changes_one_key(document: dict[str, Any], path: list[str], value: Any) -> None:
    before, text = copy.deepcopy(document), tomli_w.dumps({"value": value}).partition("=")[2].strip()
    if refused := refusal(apply_override, document, f"{'.'.join(path)} = {text}"):
        assert "--set" in refused
        return
    assert at(document, ".".join(path)) == value
    where = {line.partition(": ")[0] for line in differences(before, document)}
    assert where <= {".".join(path[:n]) for n in range(1, len(path) + 1)}


@given(st.text(max_size=20))
def test_any_text_is_an_override_or_refused(text: str) -> None:
    document: dict[str, Any] = {"training": {"rate": 0.1}, "sources": [{"kind": "phantom"}], "seed": 1}
    refused = refusal(apply_override, document, text)
    assert not refused or repr(text) in refused


@given(
    st.sampled_from(["seed", "training.batch_size", "data.sources.0.kind", "data.sources.-1", ".", "a..b", ""]), values
)
def test_any_value_makes_a_plan_or_is_refused(key: str, value: Any) -> None:
    """From the file to the plan there is no other error than the one that names the key."""
    text = tomli_w.dumps({"value": value}).partition("=")[2].strip()
    path = Path(__file__).resolve().parents[1] / "examples/classification-phantom.toml"
    refusal(read_plan, path, [f"{key}={text}"])
