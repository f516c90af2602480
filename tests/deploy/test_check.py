"""What ``omnifm deploy check`` finds on a machine where something is wrong, and what it says to do."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from live import HOST, make_deployment
from small_run import omnifm, write_images

from omnifm.deploy.check import check_folder
from omnifm.deploy.check_files import check_certificate, check_client_key
from omnifm.deploy.check_machine import check_room, check_versions
from omnifm.deploy.check_network import check_way_to_server
from omnifm.deploy.check_result import CheckResult
from omnifm.deploy.deployment_plan import ClientSide, make_deployment_plan, read_side
from omnifm.deploy.provision import provision
from omnifm.engines.flower import certificates as made
from omnifm.utils.errors import DeploymentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "deployment"
    provision(folder, make_deployment_plan({"servers": ["fl.example.org"], "hospitals": ["A"]}))
    return folder


def authority(folder: Path) -> made.Identity:
    return made.read_identity((folder / "ca/ca.key").read_bytes(), (folder / "ca/ca.crt").read_bytes())


def put(folder: Path, identity: made.Identity) -> None:
    """Give the server another certificate."""
    (folder / "server/server.crt").write_bytes(identity.certificate_pem)
    (folder / "server/server.key").write_bytes(identity.key_pem)


def found(findings: Iterator[CheckResult]) -> list[CheckResult]:
    return [finding for finding in findings if finding.severity != "good"]


def one(findings: Iterator[CheckResult]) -> CheckResult:
    """Return the only finding that is not good."""
    (finding,) = found(findings)
    assert finding.remedy
    return finding


def server_check(folder: Path, *names: str) -> Iterator[CheckResult]:
    return check_certificate(folder / "server", "server", names or ("fl.example.org",))


def test_what_init_made_is_good(folder: Path) -> None:
    assert found(server_check(folder)) == []
    assert found(check_certificate(folder / "operator", "operator")) == []
    assert found(check_client_key(folder / "hospitals/A/hospital.key")) == []


def test_an_expired_certificate(folder: Path) -> None:
    put(folder, made.server_identity(authority(folder), ["fl.example.org"], days=0))
    finding = one(server_check(folder))
    assert finding.severity == "bad"
    assert f"expired on {datetime.datetime.now(datetime.UTC):%Y-%m-}" in finding.text
    assert "omnifm deploy renew" in finding.remedy


def test_a_certificate_that_expires_soon(folder: Path) -> None:
    put(folder, made.server_identity(authority(folder), ["fl.example.org"], days=20))
    finding = one(server_check(folder))
    assert finding.severity == "warning"
    assert "in 19 days" in finding.text


def test_a_certificate_with_other_names(folder: Path) -> None:
    finding = one(server_check(folder, "fl.example.org", "10.0.0.5"))
    assert finding.severity == "bad"
    assert "does not hold the name 10.0.0.5 (but 127.0.0.1, fl.example.org, localhost)" in finding.text
    assert "--server" in finding.remedy


def test_a_certificate_of_another_authority(folder: Path) -> None:
    put(folder, made.server_identity(made.make_authority("another"), ["fl.example.org"]))
    assert "server.crt is not signed by the authority in ca.crt" in one(server_check(folder)).text


def test_a_key_of_another_certificate(folder: Path) -> None:
    other = made.server_identity(authority(folder), ["fl.example.org"])
    (folder / "server/server.key").write_bytes(other.key_pem)
    assert "server.key is not the key of server.crt" in one(server_check(folder)).text


def test_a_key_that_others_can_read(folder: Path) -> None:
    key = folder / "server/server.key"
    key.chmod(0o640)
    finding = one(server_check(folder))
    assert f"{key} can be read by others than its owner (mode 640)" in finding.text
    assert f"chmod 600 {key}" in finding.remedy


def test_a_file_that_is_missing_or_damaged(folder: Path) -> None:
    (folder / "server/server.crt").write_text("nothing")
    assert "cannot be read" in one(server_check(folder)).text
    (folder / "server/ca.crt").unlink()
    assert "ca.crt" in one(server_check(folder)).text
    (folder / "hospitals/A/hospital.key").write_text("nothing")
    assert "hospital.key cannot be read" in one(check_client_key(folder / "hospitals/A/hospital.key")).text


def test_other_versions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = read_side(folder / "hospitals/A")
    versions = {"omnifm": "0.0.9", "flwr": ""}
    monkeypatch.setattr("omnifm.deploy.check_machine.installed", versions.__getitem__)
    texts = [finding.text for finding in found(check_versions(side, ""))]
    assert texts == [
        f"omnifm 0.0.9 is installed; the deployment was made with {side.omnifm}.",
        f"flwr is not installed; the deployment was made with {side.flwr}.",
    ]
    assert "flower-nothing is not found" in found(check_versions(side, "flower-nothing"))[-1].text


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 3e8})
    monkeypatch.setattr("omnifm.deploy.check_machine.shutil.disk_usage", lambda place: usage)
    finding = one(check_room(tmp_path / "not/yet/there", "the runs"))
    assert "0.3 GB are free" in finding.text
    assert "at least 2 GB" in finding.remedy


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("omnifm.deploy.check_machine.os.access", lambda *arguments: False)
    assert "this user may not write" in one(check_room(tmp_path, "the runs")).text


class Server:
    """A server that says what it is told to say, with the deployment's certificate unless told otherwise."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.host = folder, port, HOST
        self.status, self.ahead = 401, 0.0
        self.context: ssl.SSLContext | None = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server/server.crt", folder / "server/server.key")

    @contextmanager
    def running(self) -> Iterator[None]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response_only(outer.status)
                self.send_header("Date", formatdate(datetime.datetime.now().timestamp() + outer.ahead, usegmt=True))
                self.end_headers()

        class Quiet(HTTPServer):
            def handle_error(self, request: Any, address: Any) -> None:
                """Say nothing: that a client breaks off is what is tried."""

        server = Quiet((self.host, self.port), Handler)
        if self.context:
            server.socket = self.context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Server:
    plan = make_deployment(tmp_path / "deployment", "A")
    return Server(tmp_path / "deployment", plan.ports.hospitals)


def way(server: Server, address: str = HOST) -> Iterator[CheckResult]:
    """Check the way from the hospital to the server."""
    place = server.folder / "hospitals/A"
    side = read_side(place, "hospital")
    assert isinstance(side, ClientSide)
    return check_way_to_server(place, replace(side, server=address), key=False)


def test_a_server_as_it_should_be(server: Server) -> None:
    with server.running():
        subjects = [finding.subject for finding in way(server) if finding.severity == "good"]
        assert subjects == ["server", "clock", "SuperLink"]
        assert found(way(server)) == []


def test_nobody_listens(server: Server) -> None:
    finding = one(way(server))
    assert finding.subject == "port"
    assert f"At {HOST}:{server.port} nobody listens" in finding.text


def test_a_name_that_is_not_known(server: Server) -> None:
    finding = one(way(server, "fl.invalid"))
    assert finding.subject == "name"
    assert "The name fl.invalid is not known" in finding.text


def test_no_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*arguments: Any, **more: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr("omnifm.deploy.connectivity.socket.create_connection", silent)
    finding = one(way(server))
    assert "does not answer within 10 seconds" in finding.text
    assert "firewalls" in finding.remedy


def test_it_speaks_no_tls(server: Server) -> None:
    server.context = None
    with server.running():
        finding = one(way(server))
    assert finding.subject == "TLS"
    assert "does not speak TLS" in finding.text


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        (
            lambda own: made.server_identity(made.make_authority("another"), [HOST]),
            "is of another authority than ca.crt",
        ),
        (lambda own: made.server_identity(own, [HOST], days=0), "has expired"),
    ],
)
def test_a_server_that_is_not_to_be_trusted(server: Server, identity: Any, words: str) -> None:
    put(server.folder, identity(authority(server.folder)))
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(server.folder / "server/server.crt", server.folder / "server/server.key")
    with server.running():
        finding = one(way(server))
    assert finding.subject == "TLS"
    assert words in finding.text


def test_a_server_under_another_name(server: Server) -> None:
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("needs the address 127.0.0.2")
    server.host = "127.0.0.2"
    with server.running():
        finding = one(way(server, address="127.0.0.2"))
    assert "does not hold the name by which it was called" in finding.text


@pytest.mark.parametrize(
    ("ahead", "severity", "words"),
    [
        (-60, "bad", r"clock is (59|60|61) seconds ahead of the server's; more than 5 ahead or 305 behind is refused"),
        (600, "bad", r"clock is (599|600|601) seconds behind the server's"),
        (30, "warning", r"clock is (29|30|31) seconds behind the server's"),
    ],
)
def test_clocks_that_differ(server: Server, ahead: float, severity: str, words: str) -> None:
    server.ahead = ahead
    with server.running():
        finding = one(way(server))
    assert (finding.subject, finding.severity) == ("clock", severity)
    assert re.search(words, finding.text)


@pytest.mark.parametrize(
    ("status", "words"),
    [(502, "the SuperLink behind it does not"), (404, "is no SuperLink behind our proxy (HTTP status 404)")],
)
def test_what_answers_is_not_the_superlink(server: Server, status: int, words: str) -> None:
    server.status = status
    with server.running():
        assert words in one(way(server)).text


def hospital(server: Server, tmp_path: Path, **changes: str) -> Path:
    """Give the hospital data and a client.toml that fits, but for some changes."""
    write_images(tmp_path / "data", {"images": "MRI"})
    path = server.folder / "hospitals/A/client.toml"
    text = path.read_text().replace('root = "/data"', f'root = "{tmp_path / "data"}"')
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path.parent


def test_a_hospital_as_it_should_be(server: Server, tmp_path: Path) -> None:
    place = hospital(server, tmp_path)
    with server.running():
        outcome = omnifm("deploy", "check", place)
    assert outcome.status == 0, outcome.text
    assert "data: Images of MRI: 12 for training, 4 for validation, 4 for test." in outcome.text


def test_the_command_says_what_is_wrong_and_what_to_do(server: Server, tmp_path: Path) -> None:
    place = hospital(server, tmp_path, images="picture")
    outcome = omnifm("deploy", "check", place)
    assert outcome.status == 1
    lines = outcome.text.splitlines()
    (port,) = [number for number, line in enumerate(lines) if line.startswith("BAD  port: ")]
    assert lines[port + 1].startswith("      Start it there")
    (data,) = [number for number, line in enumerate(lines) if line.startswith("BAD  data: ")]
    assert "no such folder" in lines[data]
    assert str(place / "client.toml") in lines[data + 1]


def test_a_hospital_under_another_name(server: Server, tmp_path: Path) -> None:
    place = hospital(server, tmp_path, **{'name = "A"': 'name = "B"'})
    with server.running():
        texts = [finding.text for finding in check_folder(place) if finding.severity == "bad"]
    assert texts == ["It says name = 'B', but this hospital is registered as 'A'."]


def test_a_hospital_with_too_few_data(server: Server, tmp_path: Path) -> None:
    place = hospital(server, tmp_path, **{"minimum_patients = 10": "minimum_patients = 13"})
    with server.running():
        finding = one(check_folder(place))
    assert (finding.severity, finding.subject) == ("warning", "data")
    assert "fewer than minimum_patients = 13" in finding.text


def test_a_client_toml_with_a_mistake(server: Server, tmp_path: Path) -> None:
    place = hospital(server, tmp_path, **{"[policy]": "[policies]"})
    with server.running():
        finding = one(check_folder(place))
    assert finding.subject == "client.toml"
    assert "unknown key 'policies'" in finding.text


def test_a_folder_of_no_machine(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"There is no .*deploy.toml: `omnifm deploy init` writes it"):
        next(check_folder(tmp_path))


def test_a_server_whose_superlink_is_down(tmp_path: Path) -> None:
    make_deployment(tmp_path / "deployment", "A")
    bad = [finding for finding in check_folder(tmp_path / "deployment/server") if finding.severity == "bad"]
    assert [finding.subject for finding in bad] == ["SuperLink"]
    assert "systemctl start omnifm-server" in bad[0].remedy
