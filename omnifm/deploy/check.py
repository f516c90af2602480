"""``omnifm deploy check``: what is wrong on this machine, in plain words, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omnifm.deploy.check_files import check_authority, check_certificate, check_client_key, check_member
from omnifm.deploy.check_machine import check_own_clock, check_room, check_versions
from omnifm.deploy.check_network import check_doors, check_way_of_operator, check_way_to_server
from omnifm.deploy.check_result import CheckResult
from omnifm.deploy.deployment_plan import ClientSide, ServerSide, read_side


def check_folder(folder: Path, *, key: bool = False) -> Iterator[CheckResult]:
    """Look at the machine whose folder this is: a server's, a hospital's or an operator's.

    With ``key``, a hospital signs in and out again, which only its own key can; not while its service runs.

    Raises:
        DeploymentError: the folder is no machine's.
    """
    side = read_side(folder)
    if isinstance(side, ServerSide):
        yield from check_versions(side, "flower-superlink")
        yield from check_certificate(folder, "server", side.servers)
        yield from check_own_clock()
        yield from check_room(Path(side.state), "runs and the SuperLink's database")
        yield from check_doors(folder, side)
    elif isinstance(side, ClientSide):
        yield from check_versions(side, "flower-supernode")
        yield from check_authority(folder)
        yield from check_client_key(folder / "hospital.key")
        yield from check_member(folder, side.name)
        yield from check_way_to_server(folder, side, key=key)
        from omnifm.deploy.check_data import check_data

        yield from check_data(folder, side)
    else:
        yield from check_versions(side, "flwr")
        yield from check_certificate(folder, "operator")
        yield from check_way_of_operator(folder, side)
