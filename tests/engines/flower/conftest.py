"""What the tests of the server share."""

from __future__ import annotations

import pytest
from small_run import write_images
from town import FOLDERS, Town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    root = tmp_path_factory.mktemp("town")
    return Town(root, write_images(root / "data", FOLDERS))
