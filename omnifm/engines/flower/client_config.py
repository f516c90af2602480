"""``client.toml``: what a hospital says on its own machine, of its data, its state and what it permits.

Nothing of it is sent to the server but the name and the policy, nor can the server change any of it.
"""

from __future__ import annotations

from dataclasses import field, fields, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from omnifm.checkpoint.client_store import file_name
from omnifm.config.checking import checked
from omnifm.config.deprecated import rename_key, upgraded
from omnifm.config.toml import read_toml
from omnifm.data.partition import PartitionSettings
from omnifm.data.sources import AnySource
from omnifm.engines.flower.client_policy import ClientPolicy
from omnifm.utils.errors import DeploymentError, ExperimentError, did_you_mean
from omnifm.utils.registration import load_plugins
from omnifm.utils.settings import Count, CountOrZero, NotNegative, Text, settings


@settings
class ClientDataConfig:
    """``[data]``: where the files are. The experiment sets the size of the images.

    ``root`` is the folder of the sources, ``cache`` the folder for expensive preprocessing (if not
    given, ``cache`` below the state), of at most ``cache_limit`` GiB (0: images are read anew each time). All data of
    the sources are this hospital's, unless ``client`` names one of the hospitals of ``[partition]``: for trials on one
    machine. ``seed`` decides which patients are for training, validation and test; it takes the place of the
    experiment's, so that no server can have them change places.
    """

    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)]
    root: str = "."
    cache: str = ""
    cache_limit: NotNegative = 50.0
    client: str = ""
    seed: CountOrZero = 0


@settings
class ClientConfig:
    """All of ``client.toml``.

    ``name`` is the hospital's among the others, ``state`` the folder for what it keeps of the runs (relative to the
    file, as ``data.root`` is; each hospital has a folder of its own below it), ``weights`` the folder of files that
    runs may start from, each called by its SHA-256 (if not given, ``weights`` below the hospital's own), ``device``
    torch's name of where it computes (the experiment's, if not given), ``keys`` the folder of the hospital's key, its
    certificate and the authority's (the file's own), for secure aggregation. What it keeps of runs goes after
    ``keep_days`` days without a request; of more than ``keep_runs``, those that were not asked for longest.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    data: ClientDataConfig
    policy: ClientPolicy
    state: Text = "state"
    weights: str = ""
    device: str = ""
    keys: Text = "."
    keep_days: Count = 90
    keep_runs: Count = 20
    partition: PartitionSettings = field(default_factory=PartitionSettings)

    @property
    def state_folder(self) -> Path:
        """The folder for what the hospital keeps; another one on the same machine has another."""
        return Path(self.state) / "hospitals" / file_name(self.name)

    @property
    def weights_folder(self) -> Path:
        """The folder of files that runs may start from."""
        return Path(self.weights) if self.weights else self.state_folder / "weights"

    @property
    def cache_folder(self) -> Path:
        """The cache for expensive preprocessing."""
        return Path(self.data.cache) if self.data.cache else self.state_folder / "cache"


def read_client_config(path: Path) -> ClientConfig:
    """Read a ``client.toml``; paths come out absolute.

    Raises:
        DeploymentError: the file cannot be read, or a key or value of it does not fit; names file and key.
    """
    load_plugins()
    document = upgraded(read_toml(path, "hospital's file", DeploymentError, "write one, as docs/deploy.md shows"))
    known = [f.name for f in fields(ClientConfig)]
    try:
        rename_key(document, "permits", "policy")
        if isinstance(policy := document.get("policy"), dict):
            rename_key(policy, "minimum_samples", "minimum_patients", "policy.")
        for key in document:
            if key not in known:
                raise ExperimentError(f"unknown key {key!r}. {did_you_mean(key, known)}")
        settings: ClientConfig = checked(ClientConfig, document, ())
    except ExperimentError as error:
        raise DeploymentError(f"{path}: {error}") from None
    here = path.expanduser().absolute().parent

    def placed(text: str) -> str:
        return str(here / Path(text).expanduser()) if text else ""

    data = replace(settings.data, root=placed(settings.data.root), cache=placed(settings.data.cache))
    state, weights, keys = map(placed, (settings.state, settings.weights, settings.keys))
    return replace(settings, state=state, weights=weights, keys=keys, data=data)
