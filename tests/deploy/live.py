"""A deployment that lives: the proxy and the SuperLink of ``omnifm deploy init``, and hospitals that call them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from omnifm.deploy.deployment_plan import DeploymentPlan, make_deployment_plan
from omnifm.deploy.operator import control
from omnifm.deploy.provision import provision

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PROGRAMS = Path(sys.executable).parent
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
HOST = "127.0.0.1"


@dataclass
class Live:
    """The folder that ``init`` made, its plan, and the programs that run from it."""

    folder: Path
    plan: DeploymentPlan
    stack: ExitStack

    @property
    def authority(self) -> Path:
        return self.folder / "ca/ca.crt"

    def start(self, name: str, *command: object, **environment: str) -> Process:
        """Start a program that ends with the deployment."""
        process = Process(self.folder / f"{name}.log", [str(part) for part in command], environment)
        self.stack.callback(process.stop)
        return process

    def start_client(self, name: str) -> Process:
        """Start a hospital as its own start script does."""
        state = self.folder / "state" / name
        state.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        script = self.folder / "hospitals" / name / "start.sh"
        return self.start(f"hospital-{name}", script, OMNIFM_STATE=str(state), OMNIFM_PORT=str(port))

    def start_supernode(self, name: str, *options: object) -> Process:
        """Start a SuperNode that is no hospital of ours."""
        (own,) = free_ports(1)
        to = f"{HOST}:{self.plan.ports.hospitals}"
        return self.start(name, "flower-supernode", "--superlink", to, "--port", own, *options)

    def ask(self, port: int, path: str, context: ssl.SSLContext | None = None, method: str = "POST") -> tuple[int, str]:
        """Return status and text that a path gives; the path is sent as it is written."""
        context = context or ssl.create_default_context(cafile=str(self.authority))
        headers = {"Content-Type": "application/protobuf"}
        request = urllib.request.Request(f"https://{HOST}:{port}{path}", b"", headers, method=method)
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(errors="replace")


class Process:
    """A program, and what it prints."""

    def __init__(self, log: Path, command: list[str], environment: dict[str, str]) -> None:
        self.log = log
        environment = {**os.environ, **QUIET, "FLWR_HOME": str(log.with_suffix(".home")), **environment}
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ended(self) -> int:
        """Wait until it ends by itself and return its exit status."""
        return self.process.wait(120)

    def stop(self) -> None:
        for number in (15, 9):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.1)


def answers(live: Live, port: int, path: str) -> bool:
    with suppress(OSError):
        return live.ask(port, path, method="GET")[0] in (200, 400, 404)
    return False


def make_deployment(folder: Path, *hospitals: str) -> DeploymentPlan:
    """Write a deployment whose folders stay where they are."""
    superlink, to_hospitals, to_operators = free_ports(3)
    state = folder / "state"
    ports = {"superlink": superlink, "hospitals": to_hospitals, "operators": to_operators}
    places = {"etc": str(folder), "state": str(state), "programs": str(PROGRAMS)}
    plan = make_deployment_plan({"servers": [HOST], "hospitals": list(hospitals), "ports": ports, **places})
    provision(folder, plan)
    state.mkdir()
    return plan


@contextmanager
def deployed(folder: Path, *hospitals: str) -> Iterator[Live]:
    """Give a deployment whose proxy and SuperLink run and whose hospitals are registered."""
    if NGINX is None:
        pytest.skip("needs nginx: apt-get install nginx")
    with ExitStack() as stack:
        live = Live(folder, make_deployment(folder, *hospitals), stack)
        live.start("superlink", folder / "server/start.sh")
        live.start("nginx", NGINX, "-c", nginx_conf(folder))
        wait_until(lambda: answers(live, live.plan.ports.superlink, "/health"), "the SuperLink answers")
        wait_until(lambda: answers(live, live.plan.ports.hospitals, "/"), "the proxy answers")
        link = control(folder / "operator")
        for name in hospitals:
            assert link.register(name, folder / "keys" / f"{name}.pub")
        yield live


def nginx_conf(folder: Path) -> Path:
    """Write what Debian's nginx.conf is to our file, for an nginx of this user's own; return its path."""
    conf, place = folder / "nginx.conf", folder / "nginx"
    place.mkdir()
    temporary = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "\n".join(f"{name}_temp_path {place}/{name};" for name in temporary)
    user = "user root;" if os.getuid() == 0 else ""
    conf.write_text(
        f"{user} daemon off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;\nevents {{}}\n"
        f"http {{ access_log {place}/access.log; {paths}\n include {folder}/server/nginx.conf; }}\n"
    )
    return conf
