"""Flower's control API, and what of its HTTP paths belongs to whom.

One port of the SuperLink (flwr 1.40 and 1.41) answers all:

- ``/v1/fleet/...``: SuperNodes. Every request is signed with the node's key.
- ``/v1/control/...``: operators (``flwr run``, ``flwr supernode register``). Nothing is asked of them.
- ``/v1/runtime/...``: the processes of the server app, by a token of their own; from outside nobody needs it.
- ``/health``, ``/docs``, ``/openapi.json``: anybody.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from flwr.cli.cli_client_interceptor import CliClientHttpInterceptor
from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest, RegisterNodeRequest, UnregisterNodeRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from omnifm.utils.errors import DeploymentError

SUPERNODE_CALLS = (
    "activate-node",
    "confirm-message-received",
    "deactivate-node",
    "get-fab",
    "get-run",
    "pull-messages",
    "pull-object",
    "push-messages",
    "push-object",
    "send-node-heartbeat",
)
"""What a registered SuperNode calls below ``/v1/fleet/``; to register itself is none of it."""


@dataclass(frozen=True)
class RegisteredNode:
    """A registered hospital. ``status``: registered (never seen), online, offline or unregistered; ``since`` when."""

    number: int
    name: str
    _: KW_ONLY
    status: str
    since: datetime | None
    public_key: bytes


class Control:
    """The control API of a SuperLink.

    Args:
        url: such as ``https://host:9093``.
        context: whom to trust, and the operator's certificate.
    """

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.url, self.context = url, context

    def nodes(self) -> list[RegisteredNode]:
        """Return the registered hospitals, by name.

        Raises:
            DeploymentError: no answer, or a refusal; says of whom.
        """
        return [node for node in self._all_nodes() if node.status != "unregistered"]

    def _all_nodes(self) -> list[RegisteredNode]:
        """Return all nodes, revoked ones too."""
        with self._calling() as client:
            infos = client.ListNodes(ListNodesRequest()).nodes_info
        found = [
            RegisteredNode(
                info.node_id,
                info.name or f"node {info.node_id}",
                status=info.status,
                since=_since(info),
                public_key=info.public_key,
            )
            for info in infos
        ]
        return sorted(found, key=lambda node: node.name)

    def register(self, name: str, public_key: Path) -> bool:
        """Let in the hospital with this key; False if it is in already.

        Raises:
            DeploymentError: the file is no such key, the key was revoked, the name is another key's, or the SuperLink
                refuses.
        """
        try:
            key = load_ssh_public_key(public_key.read_bytes())
        except (OSError, ValueError) as error:
            raise DeploymentError(f"The public key {public_key} cannot be read: {error}.") from None
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise DeploymentError(f"{public_key} is no elliptic-curve key: make one with `ssh-keygen -t ecdsa -b 384`.")
        data = public_key_to_bytes(key)
        for node in self._all_nodes():
            if node.status == "unregistered":
                if node.public_key == data:
                    again = "make a new one with `omnifm deploy rekey`"
                    raise DeploymentError(f"{name}: its key was revoked, and Flower never accepts it again: {again}.")
                continue
            if node.public_key == data and node.name == name:
                return False
            if node.public_key == data or node.name == name:
                what = f"The key of {public_key}" if node.public_key == data else f"The name {name!r}"
                raise DeploymentError(f"{what} is registered already, as {node.name!r} with number {node.number}.")
        with self._calling() as client:
            client.RegisterNode(RegisterNodeRequest(public_key=data, name=name))
        return True

    def unregister(self, name: str) -> None:
        """Shut out the hospital of this name.

        Raises:
            DeploymentError: there is none, or the SuperLink refuses.
        """
        numbers = [node.number for node in self.nodes() if node.name == name]
        if not numbers:
            raise DeploymentError(f"No hospital {name!r} is registered at {self.url}.")
        with self._calling() as client:
            for number in numbers:
                client.UnregisterNode(UnregisterNodeRequest(node_id=number))

    def runs(self) -> list[tuple[int, str]]:
        """Return number and status of the runs, the newest first."""
        with self._calling() as client:
            runs = client.ListRuns(ListRunsRequest()).run_dict.values()
        ordered = sorted(runs, key=lambda run: run.pending_at, reverse=True)
        return [(run.run_id, ":".join(filter(None, (run.status.status, run.status.sub_status)))) for run in ordered]

    @contextmanager
    def _calling(self) -> Iterator[ControlHttpClient]:
        version = RuntimeVersionHttpInterceptor(component_name="flwr CLI")
        interceptors = (CliClientHttpInterceptor(), version)
        with (
            _reported(self.url),
            ControlHttpClient(self.url, interceptors=interceptors, verify=self.context) as client,
        ):
            yield client


def try_key(url: str, context: ssl.SSLContext, key: Path) -> None:
    """Connect with a hospital's key, and disconnect.

    Raises:
        DeploymentError: the key cannot be read, or the SuperLink refuses it; says why.
    """
    try:
        private = load_ssh_private_key(key.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise DeploymentError(f"{key} cannot be read: {error}.") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise DeploymentError(f"{key} is no elliptic-curve key.")
    signing = NodeAuthHttpInterceptor(private, private.public_key())
    version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
    request = ActivateNodeRequest(public_key=public_key_to_bytes(private.public_key()), heartbeat_interval=10)
    with _reported(url), FleetHttpClient(url, interceptors=(version, signing), verify=context) as client:
        number = client.ActivateNode(request).node_id
        client.DeactivateNode(DeactivateNodeRequest(node_id=number))


def _since(info: Any) -> datetime | None:
    texts = {"online": info.last_activated_at, "offline": info.last_deactivated_at, "registered": info.registered_at}
    text = texts.get(info.status, "")
    return datetime.fromisoformat(text) if text else None


@contextmanager
def _reported(url: str) -> Iterator[None]:
    """Return in one sentence why a call has failed."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        status, text = error.response.status_code, error.response.text
        known = FlowerError.from_json(text)
        reason = known.message if known else _REASONS.get(status, f"HTTP status {status}")
        raise DeploymentError(f"{url} refuses: {reason.rstrip('.')}.") from None
    except (httpx.HTTPError, OSError) as error:
        raise DeploymentError(f"{url} cannot be reached: {error}. `omnifm deploy check` says more.") from None


_REASONS = {
    400: "it requires a client certificate of the deployment's authority",
    401: "the key is not this node's, or the clocks differ too much",
    403: "nginx.conf does not list this operator",
    502: "the proxy answers, the SuperLink behind it does not",
}
