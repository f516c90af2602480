from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real public data beside the repository; docs/data.md says where each is published."""
    folder = (ROOT / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"needs the public data sets at {folder}")
    return folder
