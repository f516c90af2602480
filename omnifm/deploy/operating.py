"""What an operator does, by the certificate in the operator's folder."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import tomli_w

from omnifm.deploy.bridge import bridge
from omnifm.deploy.plan import OperatorSide, host_and_port, read_side
from omnifm.engines.flower.control import Control
from omnifm.errors import DeploymentError


def control(folder: Path) -> Control:
    """Return the control API of the deployment whose operator's folder this is.

    Raises:
        DeploymentError: it is none, or a file of it is missing or damaged.
    """
    side = cast(OperatorSide, read_side(folder, "operator"))
    return Control(f"https://{host_and_port(side.server, side.port)}", operator_context(folder))


def operator_context(folder: Path) -> ssl.SSLContext:
    """Return whom an operator trusts, and the certificate to show.

    Raises:
        DeploymentError: a file of them is missing or damaged.
    """
    try:
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "operator.crt", folder / "operator.key")
    except (OSError, ssl.SSLError) as error:
        raise DeploymentError(f"The operator's certificate in {folder} cannot be read: {error}.") from None
    return context


def run_flwr(folder: Path, arguments: Sequence[str]) -> int:
    """Run Flower's own command with these arguments against the deployment; return its exit status.

    Raises:
        DeploymentError: the folder is no operator's, or the SuperLink does not answer.
    """
    control(folder).nodes()  # whatever hinders, this says it better
    side = cast(OperatorSide, read_side(folder, "operator"))
    with bridge(side.server, side.port, operator_context(folder)) as port, tempfile.TemporaryDirectory() as home:
        link = {"address": f"127.0.0.1:{port}", "insecure": True}
        settings = {"superlink": {"default": "omnifm", "omnifm": link}}
        (Path(home) / "config.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
        ours = {"FLWR_HOME": home, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
        command = [sys.executable, "-m", "flwr.cli.app", *arguments]
        return subprocess.run(command, env={**os.environ, **ours}, check=False).returncode
