"""Can a hospital's own data be read, and what are they?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omnifm.deploy.check_machine import check_room
from omnifm.deploy.check_result import CheckResult, bad, good, warning
from omnifm.deploy.deployment_plan import ClientSide
from omnifm.engines.flower.client_config import read_client_config
from omnifm.engines.flower.config_exchange import load_client_data, localise
from omnifm.utils.errors import OmniFMError


def check_data(folder: Path, side: ClientSide) -> Iterator[CheckResult]:
    """Read ``client.toml`` and load the data that it names."""
    path = folder / "client.toml"
    try:
        hospital = read_client_config(path)
    except OmniFMError as error:
        yield bad("client.toml", str(error), f"Correct {path}; docs/deploy.md lists the keys.")
        return
    if hospital.name != side.name:
        text = f"It says name = {hospital.name!r}, but this hospital is registered as {side.name!r}."
        yield bad("client.toml", text, f"Write name = {side.name!r}.")
    policy = hospital.policy
    allowed = f"tasks {', '.join(policy.tasks)}; algorithms {', '.join(policy.algorithms)}"
    yield good("client.toml", f"It permits {allowed}; to send: {', '.join(policy.upload)}.")
    room = list(check_room(hospital.state_folder, "the hospital's states"))
    yield from room
    if any(finding.severity == "bad" for finding in room):
        return
    try:
        client = load_client_data(localise({}, hospital), hospital).clients[0]
    except (OmniFMError, OSError, ValueError) as error:
        yield bad("data", str(error), f"Correct [data] of {path}, or the files; docs/data.md describes the layout.")
        return
    counts = f"{len(client.train)} for training, {len(client.validation)} for validation, {len(client.test)} for test"
    yield good("data", f"Images of {client.group}: {counts}.")
    if (patients := len(set(client.train.patients))) < policy.minimum_patients:
        text = (
            f"Training has {patients} patients, fewer than minimum_patients = {policy.minimum_patients}: it will take "
            "no part."
        )
        yield warning("data", text, f"Add data, or lower minimum_patients in {path}.")
