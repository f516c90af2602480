from pathlib import Path

import pytest

from omnifm.data.phantom.anatomy import Anatomy, load_anatomy


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantom")


@pytest.fixture(scope="session")
def anatomy(cache: Path) -> Anatomy:
    return load_anatomy(cache)
