from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def model(tiny_llava: Path) -> Path:
    return tiny_llava
