from __future__ import annotations

from pathlib import Path

import pytest
from helpers import small_arm

from omnifm.runs.arm_folder import ArmFolder
from omnifm.utils.errors import CheckpointError


@pytest.mark.parametrize("here", [True, False])
def test_what_is_known_of_the_data_comes_back_as_it_was(tmp_path: Path, here: bool) -> None:
    data_spec = small_arm("fedavg").data_spec
    ArmFolder(tmp_path).write_data(data_spec, here)
    assert ArmFolder(tmp_path).read_data() == (data_spec, here)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shape": {"channels": 1}}', '{"shape": 1, "here": true}'])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"data\.json is damaged: .*Resume the run, which rewrites it"):
        ArmFolder(tmp_path).read_data()


def test_an_arm_that_has_not_begun_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has not begun: it has no round that validation chose yet"):
        ArmFolder(tmp_path).read_data()
