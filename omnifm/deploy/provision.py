"""The folders of a deployment: one for each machine, and the authority's, which the operator keeps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import tomli_w

from omnifm.config.toml import to_toml
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
from omnifm.engines.flower.secure_aggregation.credentials import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE
from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import DeploymentError, did_you_mean

if TYPE_CHECKING:
    from omnifm.config.experiment import Plan

OPERATOR, EXPERIMENT = "operator", "experiment.toml"


def provision(folder: Path, plan: DeploymentPlan, experiment: Plan | None = None) -> None:
    """Create a new deployment, whole or not at all.

    Args:
        folder: a new one.
        plan: the machines.
        experiment: what the hospitals' policies permit; if not given, an experiment without any keys.

    Raises:
        DeploymentError: the folder exists and is not empty, or the experiment asks for less protection of patients than
            hospitals have by default.
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
        if experiment is not None:
            write(new / EXPERIMENT, to_toml(experiment.document))
        permitted = _permitted(new)
        for name in plan.hospitals:
            _write_hospital(new, plan, name, authority, permitted)


def add_clients(folder: Path, names: list[str]) -> DeploymentPlan:
    """Add hospitals to a deployment; return the new plan. Existing files stay unchanged.

    Raises:
        DeploymentError: one exists already, a name is not valid, or the authority's key is missing.
    """
    plan = read_deployment_plan(folder)
    new = make_deployment_plan({**asdict(plan), "hospitals": (*plan.hospitals, *names)})
    permitted, authority = _permitted(folder), _read_authority(folder)
    for name in names:
        _write_hospital(folder, new, name, authority, permitted)
    write_atomically(folder / PLAN_FILE, deployment_toml(new).encode())
    return new


def renew_certificates(folder: Path, servers: list[str]) -> DeploymentPlan:
    """Renew the certificates of server and operator, for other names of the server if any are given.

    Those of hospitals, which last as long as the authority's, are made where they are missing or of another key than
    the one in ``keys``.

    Raises:
        DeploymentError: the authority's key or a hospital's public key is missing, or a name is not valid.
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
    for name in new.hospitals:
        if not _is_certified(folder, name):
            _write_member(folder, name, authority)
    write_atomically(folder / PLAN_FILE, deployment_toml(new).encode())
    return new


def replace_keys(folder: Path, names: list[str]) -> None:
    """Make new keys for hospitals whose old ones are lost or stolen.

    Raises:
        DeploymentError: there is no such hospital, or the authority's key is missing.
    """
    plan = read_deployment_plan(folder)
    for name in names:
        if name not in plan.hospitals:
            raise DeploymentError(f"There is no hospital {name!r} in {folder}. {did_you_mean(name, plan.hospitals)}")
    authority = _read_authority(folder)
    for name in names:
        private, public = made.make_client_key()
        for path, content, mode in (
            (folder / "hospitals" / name / KEY_FILE, private, SECRET),
            (folder / "keys" / f"{name}.pub", public, OPEN),
        ):
            path.unlink(missing_ok=True)
            write(path, content, mode)
        _write_member(folder, name, authority)


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


def _permitted(folder: Path) -> dict[str, Any]:
    """Return what a hospital's ``client.toml`` says of the experiment in a deployment's folder, or of none."""
    from omnifm.config.experiment import make_plan, read_plan  # these import torch: other commands do without
    from omnifm.engines.flower.agreed_policy import agreed_policy, check_floors

    given = (folder / EXPERIMENT).exists()
    experiment = read_plan(folder / EXPERIMENT) if given else make_plan({})
    check_floors(experiment)
    name = f"the experiment {experiment.name}" if given else "an experiment without any keys"
    seed = next(iter(experiment.arms.values())).seed
    return {
        "policy": tomli_w.dumps({"policy": asdict(agreed_policy(experiment))}),
        "permitted": "".join(one for one in name if one.isprintable()),
        "seed": seed,
    }


def _write_hospital(
    folder: Path, plan: DeploymentPlan, name: str, authority: made.Identity, permitted: Mapping[str, Any]
) -> None:
    """Write a hospital's folder, and its public key into the one of all hospitals' keys."""
    place, etc, server = folder / "hospitals" / name, f"{plan.etc}/hospital", plan.servers[0]
    private, public = made.make_client_key()
    side = ClientSide(name=name, server=server, port=plan.ports.hospitals, **_common(plan))
    write(place / PLAN_FILE, deployment_toml(side))
    write(place / AUTHORITY_FILE, authority.certificate_pem)
    write(place / KEY_FILE, private, SECRET)
    write(place / "client.toml", render_template("client.toml.j2", plan=plan, hospital=name, **permitted))
    address = host_and_port(server, plan.ports.hospitals)
    write(
        place / "start.sh", render_template("hospital-start.sh.j2", plan=plan, hospital=name, address=address), PROGRAM
    )
    unit = "omnifm-hospital.service"
    context = {"place": etc, "unit": unit, "description": f"OmniFM: the hospital {name}", "restart": 15}
    write(place / unit, render_template("unit.j2", plan=plan, **context))
    write(folder / "keys" / f"{name}.pub", public)
    _write_member(folder, name, authority)


def _is_certified(folder: Path, name: str) -> bool:
    """Return whether the certificate in a hospital's folder is of its public key in ``keys``."""
    try:
        certificate = (folder / "hospitals" / name / CERTIFICATE_FILE).read_bytes()
        return made.certifies(certificate, (folder / "keys" / f"{name}.pub").read_bytes())
    except (OSError, ValueError):
        return False


def _write_member(folder: Path, name: str, authority: made.Identity) -> None:
    """Write a hospital's certificate, by which others know it in secure aggregation, for its key in ``keys``."""
    path = folder / "keys" / f"{name}.pub"
    try:
        certificate = made.member_certificate(authority, name, path.read_bytes())
    except (OSError, ValueError) as error:
        raise DeploymentError(f"The public key {path} cannot be certified: {error}.") from None
    place = folder / "hospitals" / name / CERTIFICATE_FILE
    place.unlink(missing_ok=True)
    write(place, certificate)


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
