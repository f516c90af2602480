"""The app that a SuperNode runs: it hands the message to the client's handler and returns the answer."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from omnifm.engines.flower.client_config import ClientConfig, read_client_config
from omnifm.engines.flower.client_handler import ClientHandler
from omnifm.engines.flower.messages import Reply
from omnifm.engines.flower.transport import from_records, to_records
from omnifm.utils.errors import DeploymentError
from omnifm.utils.terminal import log_to

CONFIG_KEY = "client-toml"
"""The key of ``--node-config`` that holds the path of ``client.toml``."""

app = ClientApp()


@app.query()
def answer(message: Message, context: Context) -> Message:
    """Answer one message."""
    log_to(sys.stderr)
    logging.getLogger("omnifm.deploy").setLevel(logging.INFO)
    return answered(message, node_config(context))


def answered(message: Message, config: ClientConfig) -> Message:
    """Return a hospital's answer to a message."""
    try:
        payload = from_records(message.content, config.policy.max_bytes)
    except ValueError as error:
        return Message(to_records(Reply(config.name, "refused", f"{error}.").to_bytes()), reply_to=message)
    return Message(to_records(ClientHandler(config).answer(payload)), reply_to=message)


def node_config(context: Context) -> ClientConfig:
    """Read the hospital's file, at the path that the node names.

    Raises:
        DeploymentError: the node does not say it, or the file is not as it should be.
    """
    path = context.node_config.get(CONFIG_KEY) or os.environ.get("OMNIFM_CLIENT_TOML")
    if not path:
        raise DeploymentError(f"Start the SuperNode with --node-config '{CONFIG_KEY}=\"/path/to/client.toml\"'.")
    return read_client_config(Path(str(path)))
