"""The commands of an operator, authorised by the certificate in the operator's folder."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from omnifm.config.toml import Document, to_toml
from omnifm.deploy.deployment_plan import OperatorSide, ServerSide, host_and_port, read_side
from omnifm.deploy.tls_proxy import tls_proxy
from omnifm.engines.flower.app_bundle import write_run_config
from omnifm.engines.flower.certificates import LOOPBACK
from omnifm.engines.flower.control import Control
from omnifm.engines.flower.flwr_env import QUIET, write_link
from omnifm.utils.errors import DeploymentError


def control(folder: Path) -> Control:
    """Return the control API, by the operator's folder; or, on the server itself, by the server's.

    Raises:
        DeploymentError: it is neither, or a file of it is missing or damaged.
    """
    side = read_side(folder, "operator", "server")
    if isinstance(side, ServerSide):
        return Control(f"https://{LOOPBACK[1]}:{side.ports.superlink}", trust(folder))
    side = cast(OperatorSide, side)
    return Control(f"https://{host_and_port(side.server, side.port)}", operator_context(folder))


def trust(folder: Path) -> ssl.SSLContext:
    """Return a context that trusts the deployment's authority and no other.

    Raises:
        DeploymentError: its certificate is missing or damaged.
    """
    try:
        return ssl.create_default_context(cafile=str(folder / "ca.crt"))
    except (OSError, ssl.SSLError) as error:
        raise DeploymentError(f"The authority's certificate {folder / 'ca.crt'} cannot be read: {error}.") from None


def operator_context(folder: Path) -> ssl.SSLContext:
    """Return a context that trusts the authority and presents the operator's certificate.

    Raises:
        DeploymentError: a file of them is missing or damaged.
    """
    context = trust(folder)
    try:
        context.load_cert_chain(folder / "operator.crt", folder / "operator.key")
    except (OSError, ssl.SSLError) as error:
        raise DeploymentError(f"The operator's certificate in {folder} cannot be read: {error}.") from None
    return context


def run_flwr(folder: Path, arguments: Sequence[str]) -> int:
    """Run Flower's own command with these arguments against the deployment; return its exit status.

    Raises:
        DeploymentError: the folder is no operator's, or the SuperLink does not answer.
    """
    control(folder).nodes()  # this reports connection errors better
    side = cast(OperatorSide, read_side(folder, "operator"))
    with tls_proxy(side.server, side.port, operator_context(folder)) as port, tempfile.TemporaryDirectory() as home:
        write_link(Path(home), "omnifm", {"address": f"127.0.0.1:{port}", "insecure": True})
        command = [sys.executable, "-m", "flwr.cli.app", *arguments]
        return subprocess.run(command, env={**os.environ, **QUIET, "FLWR_HOME": home}, check=False).returncode


def submit(folder: Path, experiment: Document | None, out: str, *, resume: bool, readmit: Sequence[str] = ()) -> int:
    """Start an experiment on the deployment and stream its log; return 0 unless that fails, or the run.

    Args:
        folder: the operator's.
        experiment: what to run; None to continue what is in ``out``.
        out: the run's folder on the server; below ``runs`` of the server's state, unless it is absolute.
        resume: continue the run in that folder.
        readmit: hospitals that were set aside and take part again.
    """
    side = cast(OperatorSide, read_side(folder, "operator"))
    text = "" if experiment is None else to_toml(experiment)
    place = Path(side.state, "runs", out)
    with tempfile.TemporaryDirectory() as temporary:
        config = Path(temporary) / "run.toml"
        write_run_config(config, text, place, resume, readmit)
        if status := run_flwr(folder, ["run", str(folder / "app"), "--run-config", str(config), "--stream"]):
            return status
    _, newest = next(iter(control(folder).runs()), (0, ""))
    return int(newest == "finished:failed")
