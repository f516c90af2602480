from __future__ import annotations

from typing import Any

import pytest

from omnifm.config.experiment import make_experiment
from omnifm.utils.errors import ExperimentError

SOURCES: dict[str, dict[str, Any]] = {
    "pattern": {"kind": "tile_folder", "folder": "set", "modality": "CT"},
    "images": {"kind": "masked_folder", "folder": "set", "modality": "CT", "region": "x", "masks": "{name}.png"},
}


@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("/etc/*", "is absolute: write it relative to the folder of the set"),
        ("C:/x/*", "is absolute"),
        ("../*/x.png", "leads out of the folder"),
        ("", "matches nothing"),
        (".", "matches nothing"),
        ("x/**y", "must be alone"),
        ("a\0b", "null character"),
    ],
)
def test_what_is_no_pattern_below_a_folder_is_refused(key: str, pattern: str, reason: str) -> None:
    with pytest.raises(ExperimentError, match=reason) as caught:
        make_experiment({"data": {"sources": [{**SOURCES[key], key: pattern}]}})
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize("pattern", ["*", "**/*.png", "images/*.jpg", "[ab]?/..x.png"])
def test_others_are_taken(key: str, pattern: str) -> None:
    made = make_experiment({"data": {"sources": [{**SOURCES[key], key: pattern}]}})
    assert getattr(made.data.sources[0], key) == pattern
