"""The app that the SuperLink runs; the run's configuration holds the experiment and the folder."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from omnifm.config.experiment import make_plan
from omnifm.config.toml import parse
from omnifm.engines.flower.deploy_settings import DeploySettings
from omnifm.engines.flower.server import run_server
from omnifm.engines.flower.transport import GridTransport
from omnifm.utils.errors import DeploymentError, OmniFMError, OutOfTime
from omnifm.utils.terminal import log_to

_LIFE = 120.0
"""How many seconds a message outlives a round's deadline."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run ``experiment`` (TOML) in the folder ``out``, or resume the run there."""
    log_to(sys.stdout, "%(message)s")
    logging.getLogger("omnifm.deploy").setLevel(logging.INFO)
    logging.getLogger("flwr").addFilter(_no_trace)
    config = context.run_config
    text, out, resume = str(config.get("experiment", "")), str(config.get("out", "")), bool(config.get("resume"))
    try:
        if not out:
            raise DeploymentError("Say where the run's folder is on the server: --run-config 'out=\"/path\"'.")
        plan = make_plan(parse(text)) if text else None

        def make_transport(settings: DeploySettings) -> GridTransport:
            return GridTransport(grid, settings.max_bytes, settings.deadline + _LIFE)

        try:
            run_server(plan, Path(out), resume, make_transport, json.loads(str(config.get("readmit") or "[]")))
        except OutOfTime as end:
            again = f"omnifm deploy run OPERATOR --resume {shlex.quote(Path(out).name)}"
            raise DeploymentError(f"{end}. The finished rounds are kept: resume with  {again}") from None
    except OmniFMError as error:
        logging.getLogger("omnifm.deploy").error("Error: %s", error)
        raise  # so that Flower counts the run as failed


def _no_trace(record: logging.LogRecord) -> bool:
    """Omit the traceback of errors that have a message of their own."""
    return not (record.exc_info and isinstance(record.exc_info[1], OmniFMError))
