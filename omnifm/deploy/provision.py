"""The folders of a deployment: one for each machine, and the authority's, which the operator keeps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from omnifm.deploy.deployment_plan import (
    PLAN_FILE,
    ClientSide,
    DeploymentPlan,
    OperatorSide,
    ServerSide,
    deployment_toml,
    host_and_port,
    installed,
    make_deployment_plan,
    read_deployment_plan,
)
from omnifm.deploy.templating import OPEN, PROGRAM, SECRET, render_template, write
from omnifm.engines.flower import certificates as made
from omnifm.engines.flower.app_bundle import write_app
from omnifm.engines.flower.control import SUPERNODE_CALLS
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import DeploymentError, did_you_mean

OPERATOR = "operator"


def provision(folder: Path, plan: DeploymentPlan) -> None:
    """Create a new deployment, whole or not at all.

    Raises:
        DeploymentError: the folder exists and is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DeploymentError(f"{folder} exists already and is not changed: give a new folder.")
    authority = made.make_authority(f"authority of {plan.servers[0]}")
    with _whole(folder) as new:
        write(new / PLAN_FILE, deployment_toml(plan))
        write(new / "STEPS.md", _steps(plan))
        write(new / "ca/ca.key", authority.key_pem, SECRET)
        write(new / "ca/ca.crt", authority.certificate_pem)
        (new / "ca").chmod(0o700)
        _write_server(new / "server", plan, authority)
        _write_operator(new / "operator", plan, authority)
        for name in plan.hospitals:
            _write_hospital(new, plan, name, authority.certificate_pem)


def add_clients(folder: Path, names: list[str]) -> DeploymentPlan:
    """Add hospitals to a deployment; return the new plan. Existing files stay unchanged.

    Raises:
        DeploymentError: one exists already, or a name is not valid.
    """
    plan = read_deployment_plan(folder)
    new = make_deployment_plan({**asdict(plan), "hospitals": (*plan.hospitals, *names)})
    for name in names:
        _write_hospital(folder, new, name, (folder / "ca/ca.crt").read_bytes())
    write_atomically(folder / PLAN_FILE, deployment_toml(new).encode())
    return new


def renew_certificates(folder: Path, servers: list[str]) -> DeploymentPlan:
    """Renew the certificates of server and operator, for other names of the server if any are given.

    Raises:
        DeploymentError: the authority's key is missing, or a name is not valid.
    """
    plan = read_deployment_plan(folder)
    new = make_deployment_plan({**asdict(plan), "servers": tuple(servers)}) if servers else plan
    authority = _read_authority(folder)
    for name, write_side in (("server", _write_server), ("operator", _write_operator)):
        with _whole(folder / f".{name}.new") as fresh:
            write_side(fresh, new, authority)
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        (folder / f".{name}.new").rename(folder / name)
    write_atomically(folder / PLAN_FILE, deployment_toml(new).encode())
    return new


def replace_keys(folder: Path, names: list[str]) -> None:
    """Make new keys for hospitals whose old ones are lost or stolen.

    Raises:
        DeploymentError: there is no such hospital.
    """
    plan = read_deployment_plan(folder)
    for name in names:
        if name not in plan.hospitals:
            raise DeploymentError(f"There is no hospital {name!r} in {folder}. {did_you_mean(name, plan.hospitals)}")
    for name in names:
        private, public = made.make_client_key()
        for path, content, mode in (
            (folder / "hospitals" / name / "hospital.key", private, SECRET),
            (folder / "keys" / f"{name}.pub", public, OPEN),
        ):
            path.unlink(missing_ok=True)
            write(path, content, mode)


def _write_server(place: Path, plan: DeploymentPlan, authority: made.Identity) -> None:
    identity = made.server_identity(authority, plan.servers)
    etc = f"{plan.etc}/server"
    side = ServerSide(servers=plan.servers, ports=plan.ports, **_common(plan))
    write(place / PLAN_FILE, deployment_toml(side))
    write(place / "ca.crt", authority.certificate_pem)
    write(place / "server.crt", identity.certificate_pem)
    write(place / "server.key", identity.key_pem, SECRET)
    write(place / "start.sh", render_template("server-start.sh.j2", plan=plan), PROGRAM)
    proxy = render_template(
        "nginx.conf.j2", plan=plan, place=etc, fleet=SUPERNODE_CALLS, operators=[made.distinguished(OPERATOR)]
    )
    write(place / "nginx.conf", proxy)
    unit = "omnifm-server.service"
    context = {"place": etc, "unit": unit, "description": "OmniFM: the server of the federation", "restart": 5}
    write(place / unit, render_template("unit.j2", plan=plan, **context))


def _write_operator(place: Path, plan: DeploymentPlan, authority: made.Identity) -> None:
    identity = made.operator_identity(authority, OPERATOR)
    side = OperatorSide(server=plan.servers[0], port=plan.ports.operators, **_common(plan))
    write(place / PLAN_FILE, deployment_toml(side))
    write(place / "ca.crt", authority.certificate_pem)
    write(place / "operator.crt", identity.certificate_pem)
    write(place / "operator.key", identity.key_pem, SECRET)
    write_app(place / "app")


def _write_hospital(folder: Path, plan: DeploymentPlan, name: str, authority: bytes) -> None:
    """Write a hospital's folder, and its public key into the one of all hospitals' keys."""
    place, etc, server = folder / "hospitals" / name, f"{plan.etc}/hospital", plan.servers[0]
    private, public = made.make_client_key()
    side = ClientSide(name=name, server=server, port=plan.ports.hospitals, **_common(plan))
    write(place / PLAN_FILE, deployment_toml(side))
    write(place / "ca.crt", authority)
    write(place / "hospital.key", private, SECRET)
    write(place / "client.toml", render_template("client.toml.j2", plan=plan, hospital=name))
    address = host_and_port(server, plan.ports.hospitals)
    write(
        place / "start.sh", render_template("hospital-start.sh.j2", plan=plan, hospital=name, address=address), PROGRAM
    )
    unit = "omnifm-hospital.service"
    context = {"place": etc, "unit": unit, "description": f"OmniFM: the hospital {name}", "restart": 15}
    write(place / unit, render_template("unit.j2", plan=plan, **context))
    write(folder / "keys" / f"{name}.pub", public)


def _read_authority(folder: Path) -> made.Identity:
    try:
        return made.read_identity((folder / "ca/ca.key").read_bytes(), (folder / "ca/ca.crt").read_bytes())
    except (OSError, ValueError) as error:
        raise DeploymentError(f"The authority in {folder / 'ca'} cannot be read: {error}.") from None


def _steps(plan: DeploymentPlan) -> str:
    venv = str(PurePosixPath(plan.programs).parent)
    return render_template("steps.md.j2", plan=plan, venv=venv, **_common(plan))


def _common(plan: DeploymentPlan) -> dict[str, Any]:
    """Return what the deployment files of all machines say."""
    return {"state": plan.state, "omnifm": installed("omnifm"), "flwr": installed("flwr")}


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Context manager that yields a new folder, moved into place at the end and removed on failure."""
    new = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new.mkdir()
    try:
        yield new
        new.rename(folder)  # over an empty folder too
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
