"""A whole deployment on this machine, for trials: a SuperLink and a SuperNode a hospital, with TLS and node keys."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from omnifm.engines.flower.app_bundle import write_app, write_run_config
from omnifm.engines.flower.certificates import LOOPBACK, make_authority, server_identity
from omnifm.engines.flower.client_app import CONFIG_KEY
from omnifm.engines.flower.flwr_env import QUIET, write_link
from omnifm.engines.flower.secure_aggregation.credentials import KEY_FILE, write_credentials
from omnifm.utils.errors import DeploymentError


class LocalDeployment:
    """Starts and ends the processes; leave it as a context manager, and all of them have ended.

    Args:
        folder: for certificates, keys and logs.
        hospitals: each hospital's ``client.toml``, by name.
        port: the SuperLink's; the SuperNodes take those after it.
    """

    def __init__(self, folder: Path, hospitals: Mapping[str, Path], port: int) -> None:
        self.folder, self.hospitals, self.port = folder, dict(hospitals), port
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        _write_certificates(folder, hospitals)
        write_app(folder / "app")
        link = {"address": f"127.0.0.1:{port}", "root-certificates": str(folder / "ca.crt")}
        (folder / "operator").mkdir(exist_ok=True)
        write_link(folder / "operator", "loopback", link)

    def __enter__(self) -> LocalDeployment:
        return self

    def __exit__(self, *error: Any) -> None:
        for name in list(self.processes):
            self.end(name)

    def start_server(self, register: bool = True) -> None:
        """Start the SuperLink, wait until it answers, and make the hospitals known to it."""
        files = {kind: str(self.folder / file) for kind, file in _FILES.items()}
        self._start(
            "server",
            "flower-superlink",
            *("--ssl-ca-certfile", files["ca"], "--ssl-certfile", files["certificate"], "--ssl-keyfile", files["key"]),
            *("--port", str(self.port), "--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *("--database", str(self.folder / "superlink.db")),
        )
        wait_until(lambda: self._flwr("supernode", "list").returncode == 0, "the SuperLink does not answer", 60)
        for name in self.hospitals if register else ():
            done = self._flwr("supernode", "register", str(self.keys(name) / "hospital.key.pub"), "--name", name)
            if done.returncode:
                raise DeploymentError(f"{name} cannot be registered: {done.stdout.decode()}{done.stderr.decode()}")

    def start_client(self, name: str) -> None:
        """Start a hospital's SuperNode."""
        place = list(self.hospitals).index(name)
        self._start(
            name,
            "flower-supernode",
            *("--superlink", f"127.0.0.1:{self.port}", "--root-certificates", str(self.folder / "ca.crt")),
            *("--auth-supernode-private-key", str(self.keys(name) / KEY_FILE)),
            *("--port", str(self.port + 1 + place)),
            *("--node-config", f'{CONFIG_KEY}="{self.hospitals[name].absolute()}"'),
        )

    def submit(self, experiment: str, out: Path, resume: bool = False) -> subprocess.Popen[bytes]:
        """Submit a run; the process shows its log until it ends."""
        config = self.folder / "run.toml"
        write_run_config(config, experiment, out.absolute(), resume)
        arguments = ["run", str(self.folder / "app"), "loopback", "--stream", "--run-config", str(config)]
        return self._start("run", "flwr", *arguments)

    def end(self, name: str, how: int = signal.SIGTERM) -> None:
        """End a process and all that it has started."""
        process = self.processes.pop(name)
        for number in (how, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
                if number == signal.SIGKILL or not _group_lives(process.pid):
                    return

    def keys(self, name: str) -> Path:
        """Return the folder of a hospital's key and certificate."""
        return self.folder / "keys" / name

    def log(self, name: str) -> str:
        """Return what a process has printed."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def _start(self, name: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        home = self.folder / ("operator" if name == "run" else f"{name}-home")
        home.mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [_program(program), *arguments],
                env=_environment(home),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def _flwr(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        environment = _environment(self.folder / "operator")
        command = [_program("flwr"), *arguments[:3], "loopback", *arguments[3:]]
        return subprocess.run(command, env=environment, capture_output=True, check=False)


def wait_until(condition: Callable[[], bool], otherwise: str, seconds: float) -> None:
    """Poll until something is so.

    Raises:
        DeploymentError: it was not so in time; says ``otherwise``.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise DeploymentError(f"After {seconds:g} s {otherwise}.")
        time.sleep(0.2)


_FILES = {"ca": "ca.crt", "certificate": "server.crt", "key": "server.key"}


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _environment(home: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, **QUIET, "FLWR_HOME": str(home), "PATH": path}


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _write_certificates(folder: Path, hospitals: Iterable[str]) -> None:
    """Write the server's certificate and the hospitals' keys; the authority's own key is forgotten."""
    authority = make_authority("loopback")
    server = server_identity(authority, LOOPBACK)
    (folder / "ca.crt").write_bytes(authority.certificate_pem)
    (folder / "server.crt").write_bytes(server.certificate_pem)
    (folder / "server.key").write_bytes(server.key_pem)
    for name in hospitals:
        public = write_credentials(folder / "keys" / name, name, authority)
        (folder / "keys" / name / "hospital.key.pub").write_bytes(public)
