"""client.toml: read, checked, and every mistake told by file and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from omnifm.data.phantom.dataset import PhantomSource
from omnifm.engines.flower.client_config import read_client_config
from omnifm.utils.errors import DeploymentError


def document(**changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": "General",
        "state": "kept",
        "data": {"root": "files", "sources": [{"kind": "phantom", "patients": 10}]},
        "policy": {"tasks": ["*"], "algorithms": ["fedavg", "omnifm"]},
    }
    return {**plain, **changes}


def written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "client.toml"
    path.write_text(tomli_w.dumps(content), encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = read_client_config(written(tmp_path, document()))
    assert found.name == "General"
    assert found.state_folder == tmp_path / "kept/hospitals/General"
    assert found.data.root == str(tmp_path / "files")
    assert found.cache_folder == tmp_path / "kept/hospitals/General/cache"
    assert found.data.sources == (PhantomSource(patients=10),)
    assert found.policy.upload == ("weights", "prototypes", "auxiliary")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nam": "x"}, r"client.toml: unknown key 'nam'. Did you mean 'name'"),
        ({"name": ""}, r"client.toml: name: must not be empty"),
        ({"policy": {"tasks": ["*"]}}, r"client.toml: policy.algorithms: this key is required"),
        (
            {"policy": {"tasks": ["*"], "algorithms": ["fedavgg"]}},
            r"algorithms.0: unknown name 'fedavgg'. Did",
        ),
        ({"policy": {"tasks": ["*"], "algorithms": ["*"], "upload": ["images"]}}, r"policy.upload.0: must be"),
        ({"policy": {"tasks": ["*"], "algorithms": ["*"], "round_a_day": 1}}, r"Did you mean 'rounds_a_day'"),
        ({"data": {"sources": []}}, r"data.sources: must name at least 1"),
        ({"data": {"size": 3, "sources": [{"kind": "phantom"}]}}, r"Unknown key 'data.size'"),
    ],
)
def test_a_mistake_is_reported_by_file_and_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DeploymentError, match=message):
        read_client_config(written(tmp_path, document(**changes)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"There is no hospital's file .*client.toml"):
        read_client_config(tmp_path / "client.toml")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(DeploymentError, match=r"client.toml is not valid TOML"):
        read_client_config(path)
