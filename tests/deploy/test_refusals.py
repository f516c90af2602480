"""Who is let in, and who is not: real nginx, SuperLink and SuperNodes, from the files that ``deploy init`` writes."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flwr.proto.fleet_pb2 import ActivateNodeRequest
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from live import HOST, Live, Process, deployed, wait_until
from small_run import omnifm

from omnifm.deploy.operator import control, operator_context
from omnifm.engines.flower.certificates import make_authority, make_client_key, operator_identity
from omnifm.engines.flower.control import Control, try_key
from omnifm.utils.errors import DeploymentError

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.flower]

LIST = "/v1/control/list-nodes"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with deployed(tmp_path_factory.mktemp("live") / "deployment", "North", "South") as live:
        yield live


@pytest.fixture(scope="module")
def north(live: Live) -> Process:
    """A hospital as it should be, connected."""
    hospital = live.start_client("North")
    wait_until(lambda: "SuperNode ID" in hospital.text, "the hospital is in")
    return hospital


@pytest.fixture(scope="module")
def refused(live: Live, north: Process) -> dict[str, Process]:
    """SuperNodes that are not as they should be, all started at once and ended by themselves."""
    other = live.folder / "other.crt"
    other.write_bytes(make_authority("another").certificate_pem)
    stranger = live.folder / "stranger.key"
    stranger.write_bytes(make_client_key()[0])
    keys = live.folder / "hospitals"
    trust, key = ("--root-certificates", live.authority), "--auth-supernode-private-key"
    processes = {
        "unregistered": live.start_supernode("unregistered", *trust, key, stranger),
        "another's key": live.start_supernode("double", *trust, key, keys / "North/hospital.key"),
        "wrong authority": live.start_supernode(
            "wrong", "--root-certificates", other, key, keys / "South/hospital.key"
        ),
        "plain": live.start_supernode("plain", "--insecure"),
    }
    for name, process in processes.items():
        assert process.ended() != 0, name
        assert "SuperNode ID" not in process.text, name
    return processes


def connected(live: Live) -> list[str]:
    return [node.name for node in control(live.folder / "operator").nodes() if node.status == "online"]


def registered(live: Live) -> list[str]:
    return [node.name for node in control(live.folder / "operator").nodes()]


def test_a_registered_hospital_is_let_in(live: Live, north: Process) -> None:
    assert connected(live) == ["North"]
    assert north.process.poll() is None


@pytest.mark.parametrize(
    ("who", "why"),
    [
        ("unregistered", "Failed to activate SuperNode"),
        ("another's key", "Failed to activate SuperNode"),
        ("wrong authority", "certificate verify failed"),
        ("plain", "400 Bad Request"),
    ],
)
def test_a_supernode_that_is_not_as_it_should_be(live: Live, refused: dict[str, Process], who: str, why: str) -> None:
    assert why in refused[who].text
    assert connected(live) == ["North"]


def test_a_hospital_that_shows_anothers_key_but_does_not_have_it(live: Live) -> None:
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

    own = load_ssh_private_key((live.folder / "hospitals/North/hospital.key").read_bytes(), None)
    shown = load_ssh_public_key((live.folder / "keys/South.pub").read_bytes())
    context = ssl.create_default_context(cafile=str(live.authority))
    signing = NodeAuthHttpInterceptor(own, shown)  # type: ignore[arg-type]
    url = f"https://{HOST}:{live.plan.ports.hospitals}"
    with (
        FleetHttpClient(url, interceptors=(signing,), verify=context) as client,
        pytest.raises(httpx.HTTPStatusError, match="401"),
    ):
        client.ActivateNode(ActivateNodeRequest(public_key=public_key_to_bytes(shown), heartbeat_interval=30))  # type: ignore[arg-type]


def test_trying_a_key_tells_whether_it_is_registered(live: Live, tmp_path: Path) -> None:
    url = f"https://{HOST}:{live.plan.ports.hospitals}"
    context = ssl.create_default_context(cafile=str(live.authority))
    try_key(url, context, live.folder / "hospitals/South/hospital.key")
    (tmp_path / "stranger.key").write_bytes(make_client_key()[0])
    with pytest.raises(DeploymentError, match="refuses: Failed to activate"):
        try_key(url, context, tmp_path / "stranger.key")


def operator(live: Live, context: ssl.SSLContext) -> Control:
    return Control(f"https://{HOST}:{live.plan.ports.operators}", context)


def test_an_operator_without_certificate(live: Live) -> None:
    bare = ssl.create_default_context(cafile=str(live.authority))
    with pytest.raises(DeploymentError, match="requires a client certificate"):
        operator(live, bare).nodes()
    assert live.ask(live.plan.ports.operators, LIST, bare)[0] == 400


def write_pair(folder: Path, key: bytes, certificate: bytes) -> tuple[Path, Path]:
    (folder / "some.key").write_bytes(key)
    (folder / "some.crt").write_bytes(certificate)
    return folder / "some.crt", folder / "some.key"


def test_an_operator_of_another_authority(live: Live, tmp_path: Path) -> None:
    identity = operator_identity(make_authority("another"), "operator")
    context = ssl.create_default_context(cafile=str(live.authority))
    context.load_cert_chain(*write_pair(tmp_path, identity.key_pem, identity.certificate_pem))
    assert live.ask(live.plan.ports.operators, LIST, context)[0] == 400


def test_the_servers_certificate_is_no_operators(live: Live) -> None:
    context = ssl.create_default_context(cafile=str(live.authority))
    context.load_cert_chain(live.folder / "server/server.crt", live.folder / "server/server.key")
    assert live.ask(live.plan.ports.operators, LIST, context)[0] == 400


def test_an_operator_who_is_not_on_the_list(live: Live, tmp_path: Path) -> None:
    from omnifm.engines.flower.certificates import read_identity

    authority = read_identity((live.folder / "ca/ca.key").read_bytes(), live.authority.read_bytes())
    former = operator_identity(authority, "former")
    context = ssl.create_default_context(cafile=str(live.authority))
    context.load_cert_chain(*write_pair(tmp_path, former.key_pem, former.certificate_pem))
    with pytest.raises(DeploymentError, match="does not list this operator"):
        operator(live, context).nodes()


@pytest.mark.parametrize(
    "path",
    [
        LIST,
        "/v1/control/start-run",
        "/v1/fleet/../control/list-nodes",
        "/v1/fleet/..%2fcontrol/list-nodes",
        "/v1/fleet/%2e%2e/control/list-nodes",
        "//v1/control/list-nodes",
        "/v1/fleet/register-node",
        "/v1/runtime/get-nodes",
        "/health",
        "/docs",
        "/openapi.json",
    ],
)
def test_by_the_hospitals_port_only_the_fleet_is_reached(live: Live, path: str) -> None:
    assert live.ask(live.plan.ports.hospitals, path)[0] == 404


@pytest.mark.parametrize(
    "path", ["/v1/runtime/get-nodes", "/v1/fleet/pull-messages", "/docs", "/v1/control/../fleet/x"]
)
def test_by_the_operators_port_only_the_control_is_reached(live: Live, path: str) -> None:
    assert live.ask(live.plan.ports.operators, path, operator_context(live.folder / "operator"))[0] == 404


def test_an_unsigned_request_to_the_fleet(live: Live) -> None:
    assert live.ask(live.plan.ports.hospitals, "/v1/fleet/pull-messages")[0] == 401


def test_the_superlink_itself_is_not_reached_from_other_machines(live: Live) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: it only says which address would be used
        except OSError:
            pytest.skip("this machine has no address but loopback")
        outside = probe.getsockname()[0]
    if outside.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((outside, live.plan.ports.superlink), timeout=5)


def test_flowers_own_command_gets_through_by_the_operators_certificate(live: Live, north: Process) -> None:
    process = live.start(
        "flwr", sys.executable, "-m", "omnifm", "deploy", "flwr", live.folder / "operator", "supernode", "list"
    )
    assert process.ended() == 0, process.text
    assert "online" in process.text


def test_a_hospital_that_was_shut_out_needs_a_new_key(live: Live) -> None:
    folder = live.folder
    assert omnifm("deploy", "unregister", folder, "--hospital", "South").text == "South: revoked\n"
    assert registered(live) == ["North"]
    outcome = omnifm("deploy", "register", folder)
    assert outcome.status == 1
    assert "North: already registered" in outcome.text
    assert "South: its key was revoked, and Flower never accepts it again" in outcome.text
    assert omnifm("deploy", "rekey", folder, "--hospital", "South").status == 0
    assert "South: registered" in omnifm("deploy", "register", folder).text
    assert registered(live) == ["North", "South"]
    with pytest.raises(DeploymentError, match="is registered already, as 'North'"):
        control(folder / "operator").register("South", folder / "keys/North.pub")


def test_a_machine_as_it_should_be(live: Live) -> None:
    for side in ("server", "operator"):
        outcome = omnifm("deploy", "check", live.folder / side)
        assert outcome.status == 0, outcome.text
    assert "The hospitals' port accepts no commands" in omnifm("deploy", "check", live.folder / "server").text
