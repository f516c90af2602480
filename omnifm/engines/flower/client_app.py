"""The app that a SuperNode runs: it hands the letter to the hospital's ward and sends back the answer."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from omnifm.engines.flower.envelope import opened, sealed
from omnifm.engines.flower.hospital import HospitalSettings, read_hospital
from omnifm.engines.flower.letters import Reply
from omnifm.engines.flower.ward import Ward
from omnifm.errors import DeploymentError

FILE = "client-toml"
"""The key of ``--node-config`` that says where ``client.toml`` lies."""

app = ClientApp()


@app.query()
def answer(message: Message, context: Context) -> Message:
    """Answer one message."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    return answered(message, settings(context))


def answered(message: Message, hospital: HospitalSettings) -> Message:
    """Return a hospital's answer to a message."""
    try:
        letter = opened(message.content, hospital.permits.max_bytes)
    except ValueError as error:
        return Message(sealed(Reply(hospital.name, "refused", f"{error}.").to_bytes()), reply_to=message)
    return Message(sealed(Ward(hospital).answer(letter)), reply_to=message)


def settings(context: Context) -> HospitalSettings:
    """Read the hospital's file, where the node says that it lies.

    Raises:
        DeploymentError: the node does not say it, or the file is not as it should be.
    """
    path = context.node_config.get(FILE) or os.environ.get("OMNIFM_CLIENT_TOML")
    if not path:
        raise DeploymentError(f"Start the SuperNode with --node-config '{FILE}=\"/path/to/client.toml\"'.")
    return read_hospital(Path(str(path)))
