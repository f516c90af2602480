from __future__ import annotations

from pathlib import Path

import pytest

from omnifm.config.experiment import read_plan
from omnifm.config.overrides import apply_override
from omnifm.config.toml import DEEPEST, Document, parse
from omnifm.deploy.deployment_plan import read_side
from omnifm.utils.errors import DeploymentError, ExperimentError


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b'\xef\xbb\xbfname = "caf\xc3\xa9"\r\nseed = 4\r\n')
    plan = read_plan(file)
    assert (plan.name, plan.document["seed"]) == ("café", 4)


def test_nor_is_it_in_the_file_of_a_deployment(tmp_path: Path) -> None:
    (tmp_path / "deploy.toml").write_bytes(b'\xef\xbb\xbfside = "nobody"\n')
    with pytest.raises(DeploymentError, match="side 'nobody'"):
        read_side(tmp_path)


def tables(depth: int) -> str:
    return f"[{'.'.join('a' * depth)}]\nx = 1\n"


def lists(depth: int) -> str:
    return f"x = {'[' * depth}{']' * depth}\n"


@pytest.mark.parametrize("text", [tables(DEEPEST), lists(DEEPEST), tables(5000), lists(5000), lists(200_000)], ids=len)
def test_deep_nesting_is_one_clear_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text)
    with pytest.raises(ExperimentError) as caught:
        read_plan(file)
    assert (
        str(caught.value)
        == f"The experiment file {file} cannot be read: tables and lists are nested more than 32 deep."
    )


def test_what_is_just_not_too_deep_is_read() -> None:
    assert parse(tables(DEEPEST - 1))
    assert parse(lists(DEEPEST - 1))


@pytest.mark.parametrize("override", [f"seed={'[' * 5000}{']' * 5000}", f"{'.'.join('a' * 5000)}=1"], ids=len)
def test_nor_does_set_nest_deeply(override: str) -> None:
    document: Document = {}
    with pytest.raises(ExperimentError, match=r"^--set .{1,70}: .*nested more than 32 deep\.$"):
        apply_override(document, override)
