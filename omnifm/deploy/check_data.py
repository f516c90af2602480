"""Can a hospital's own data be read, and what are they?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omnifm.deploy.check_machine import check_room
from omnifm.deploy.finding import Finding, bad, good, warning
from omnifm.deploy.plan import HospitalSide
from omnifm.engines.flower.hospital import read_hospital
from omnifm.engines.flower.sharing import load_hospital, understood
from omnifm.errors import OmniFMError


def check_data(folder: Path, side: HospitalSide) -> Iterator[Finding]:
    """Read ``client.toml`` and load the data that it names."""
    path = folder / "client.toml"
    try:
        hospital = read_hospital(path)
    except OmniFMError as error:
        yield bad("client.toml", str(error), f"Correct {path}; docs/deploy.md lists the keys.")
        return
    if hospital.name != side.name:
        text = f"It says name = {hospital.name!r}, but this hospital is registered as {side.name!r}."
        yield bad("client.toml", text, f"Write name = {side.name!r}.")
    permits = hospital.permits
    allowed = f"tasks {', '.join(permits.tasks)}; algorithms {', '.join(permits.algorithms)}"
    yield good("client.toml", f"It permits {allowed}; to send: {', '.join(permits.upload)}.")
    room = list(check_room(hospital.state_folder, "the hospital's states"))
    yield from room
    if any(finding.severity == "bad" for finding in room):
        return
    try:
        client = load_hospital(understood({}, hospital), hospital).clients[0]
    except (OmniFMError, OSError, ValueError) as error:
        yield bad("data", str(error), f"Correct [data] of {path}, or the files; docs/data.md says how they must lie.")
        return
    counts = f"{len(client.train)} for training, {len(client.validation)} for validation, {len(client.test)} for test"
    yield good("data", f"Images of {client.group}: {counts}.")
    if len(client.train) < permits.minimum_samples:
        text = f"There are fewer than minimum_samples = {permits.minimum_samples} for training: it will take no part."
        yield warning("data", text, f"Add data, or lower minimum_samples in {path}.")
