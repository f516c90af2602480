"""The deployment file ``deploy.toml``, which ``omnifm deploy init`` writes and the other commands read.

The operator's own folder holds the whole plan; the folders of the server, a hospital and an operator hold the part that
their machine needs.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field

from omnifm.config.checking import checked
from omnifm.config.toml import read_toml
from omnifm.utils.errors import DeploymentError, ExperimentError

PLAN_FILE = "deploy.toml"
_HOSPITAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*", re.ASCII)
Port = Annotated[int, Field(ge=1, le=65535)]


@dataclass(frozen=True)
class Ports:
    """The ports of the server: the SuperLink's own (this machine only), and the proxy's for hospitals and operators."""

    superlink: Port = 9091
    hospitals: Port = 9092
    operators: Port = 9093

    def __post_init__(self) -> None:
        if len({self.superlink, self.hospitals, self.operators}) < 3:
            raise ValueError("the three ports must differ")


@dataclass(frozen=True, kw_only=True)
class DeploymentPlan:
    """The whole deployment.

    ``servers`` are the names and addresses by which hospitals and operators reach the server; they use the first.
    ``etc`` is where each machine stores its own folder, ``state`` where it writes state and results, ``programs`` where
    ``omnifm`` and Flower's programs are installed.
    """

    servers: tuple[str, ...]
    hospitals: tuple[str, ...]
    ports: Ports = Ports()
    etc: str = "/etc/omnifm"
    state: str = "/var/lib/omnifm"
    programs: str = "/opt/omnifm/bin"

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("name the server: a host name or an address by which the hospitals reach it")
        if not self.hospitals:
            raise ValueError("name at least one hospital")
        for name in self.servers:
            check_host(name)
        for name in self.hospitals:
            check_client_name(name)
        if twice := sorted({name for name in self.hospitals if self.hospitals.count(name) > 1}):
            raise ValueError(f"hospital {twice[0]!r} is named twice")
        for key in ("etc", "state", "programs"):
            path = getattr(self, key)
            if not re.fullmatch(r"/[\w./+@-]+", path, re.ASCII):
                raise ValueError(f"{key} = {path!r} must be an absolute path without spaces or quotes")


@dataclass(frozen=True, kw_only=True)
class _Machine:
    """What every machine's folder says: where state is kept, and the versions that the folder was made with."""

    state: str
    omnifm: str
    flwr: str


@dataclass(frozen=True, kw_only=True)
class ServerSide(_Machine):
    """The server's folder."""

    side: Literal["server"] = "server"
    servers: tuple[str, ...]
    ports: Ports


@dataclass(frozen=True, kw_only=True)
class OperatorSide(_Machine):
    """An operator's folder: where the server is; ``state`` is the server's, where runs are stored."""

    side: Literal["operator"] = "operator"
    server: str
    port: Port


@dataclass(frozen=True, kw_only=True)
class ClientSide(_Machine):
    """A hospital's folder: who it is and where the server is."""

    side: Literal["hospital"] = "hospital"
    name: str
    server: str
    port: Port


Side = ServerSide | ClientSide | OperatorSide
_SIDES: dict[str, type] = {kind.side: kind for kind in (ServerSide, ClientSide, OperatorSide)}


def check_host(name: str) -> None:
    """Raise ValueError unless it is a host name or an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not _HOST.fullmatch(name) or re.fullmatch(r"[\d.]+", name):
            raise ValueError(f"{name!r} is neither a host name nor an IP address (and takes no port)") from None


def check_client_name(name: str) -> None:
    """Raise ValueError unless the name can also name files and services."""
    if not _HOSPITAL.fullmatch(name):
        raise ValueError(f"hospital {name!r}: use up to 32 letters, digits, '-' and '_', a letter or digit first")


def make_deployment_plan(values: dict[str, Any]) -> DeploymentPlan:
    """Check the settings of a deployment.

    Raises:
        DeploymentError: they are not valid; says why.
    """
    plan: DeploymentPlan = _checked(DeploymentPlan, values, "")
    return plan


def host_and_port(host: str, port: int) -> str:
    """Write an address; a colon in it is put in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def installed(package: str) -> str:
    """Return the version of a package here, or an empty text if there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def deployment_toml(content: DeploymentPlan | Side) -> str:
    """Return the text of a ``deploy.toml``."""
    return tomli_w.dumps(asdict(content))


def read_deployment_plan(folder: Path) -> DeploymentPlan:
    """Read the plan in the folder that ``omnifm deploy init`` made.

    Raises:
        DeploymentError: there is none, or it is not valid.
    """
    document = _read(folder)
    if "side" in document:
        raise DeploymentError(f"{folder} is one side of a deployment: give the folder that `omnifm deploy init` made.")
    plan: DeploymentPlan = _checked(DeploymentPlan, document, f"{folder / PLAN_FILE}: ")
    return plan


def read_side(folder: Path, *sides: str) -> Side:
    """Read the deployment file of one machine's folder.

    Raises:
        DeploymentError: there is none, or it belongs to none of these ``sides``.
    """
    document = _read(folder)
    side, wanted = str(document.get("side", "")), sides or tuple(_SIDES)
    if side not in wanted:
        actual = f"side {side!r}" if side else "a whole deployment"
        raise DeploymentError(f"{folder} is the folder of {actual}: give that of one side ({', '.join(wanted)}).")
    found: Side = _checked(_SIDES[side], document, f"{folder / PLAN_FILE}: ")
    return found


def _read(folder: Path) -> dict[str, Any]:
    return read_toml(folder / PLAN_FILE, "deployment file", DeploymentError, "`omnifm deploy init` writes it")


def _checked(kind: type, values: dict[str, Any], before: str) -> Any:
    try:
        return checked(kind, values, ())
    except ExperimentError as error:
        raise DeploymentError(f"{before}{error}") from None
