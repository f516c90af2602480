"""``omnifm deploy``. Slow modules are imported when a command needs them."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from omnifm.utils.errors import DeploymentError
from omnifm.utils.terminal import SafeConsole

app = typer.Typer(help="Deploy a federation to many hospitals, over Flower: docs/deploy.md.", no_args_is_help=True)
_out = SafeConsole()

Folder = Annotated[Path, typer.Argument(help="The folder that `omnifm deploy init` made.")]
Operator = Annotated[Path, typer.Argument(help="The operator's folder.")]
ClientNames = Annotated[
    list[str], typer.Option("--hospital", metavar="NAME", help="A hospital's name; more than once.")
]


@app.callback()
def _needs_flower() -> None:
    if find_spec("flwr") is None:
        raise DeploymentError("Flower is not installed here: pip install 'omnifm[flower]'.")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    server: Annotated[
        list[str], typer.Option("--server", metavar="NAME", help="Host name or address of the server; more than once.")
    ],
    hospital: ClientNames,
    experiment: Annotated[
        Path | None,
        typer.Option(
            help="The experiment file (TOML) that the hospitals' policies permit; if not given, one without keys."
        ),
    ] = None,
    ports: Annotated[
        tuple[int, int, int],
        typer.Option(metavar="SUPERLINK HOSPITALS OPERATORS", help="The server's ports; the first is its own only."),
    ] = (9091, 9092, 9093),
    etc: Annotated[str, typer.Option(help="Where each machine stores its folder.")] = "/etc/omnifm",
    state: Annotated[str, typer.Option(help="Where each machine writes state and results.")] = "/var/lib/omnifm",
    programs: Annotated[str, typer.Option(help="Where omnifm and Flower are installed.")] = "/opt/omnifm/bin",
) -> None:
    """Write the files of a server and its hospitals: certificates, keys, scripts, units, proxy, steps."""
    from omnifm.config.experiment import read_plan
    from omnifm.deploy import provision
    from omnifm.deploy.deployment_plan import make_deployment_plan

    permitted = None if experiment is None else read_plan(experiment)
    values = {"servers": server, "hospitals": hospital, "etc": etc, "state": state, "programs": programs}
    numbers = dict(zip(("superlink", "hospitals", "operators"), ports, strict=True))
    provision.provision(folder, make_deployment_plan({**values, "ports": numbers}), permitted)
    _say(f"The deployment is in {folder}. Continue with its STEPS.md.")


@app.command()
def add(folder: Folder, hospital: ClientNames) -> None:
    """Add hospitals to a deployment, at any time."""
    from omnifm.deploy import provision

    provision.add_clients(folder, hospital)
    _say(f"Bring {', '.join(str(folder / 'hospitals' / name) for name in hospital)} to the hospital; then")
    _say(f"  omnifm deploy register {shlex.quote(str(folder))}")


@app.command()
def renew(
    folder: Folder,
    server: Annotated[
        list[str] | None, typer.Option("--server", metavar="NAME", help="The server's names, if they change.")
    ] = None,
) -> None:
    """Renew the certificates of server and operator; keys of hospitals stay valid."""
    from omnifm.deploy import provision

    provision.renew_certificates(folder, server or [])
    _say(f"Bring {folder}/server to the server again, and restart nginx and the SuperLink.")


@app.command()
def rekey(folder: Folder, hospital: ClientNames) -> None:
    """Make new keys for hospitals whose old ones are lost or stolen; `unregister` them first."""
    from omnifm.deploy import provision

    provision.replace_keys(folder, hospital)
    _say(f"Bring hospital.key and hospital.crt to each; then  omnifm deploy register {shlex.quote(str(folder))}")


@app.command()
def register(folder: Folder) -> None:
    """Register the keys of a deployment's hospitals; those already registered stay so."""
    from omnifm.deploy.deployment_plan import read_deployment_plan
    from omnifm.deploy.operator import control

    plan = read_deployment_plan(folder)
    link = control(folder / "operator")
    failures = []
    for name in plan.hospitals:
        try:
            new = link.register(name, folder / "keys" / f"{name}.pub")
            _say(f"{name}: {'registered' if new else 'already registered'}")
        except DeploymentError as error:
            failures.append(str(error))
    if failures:
        raise DeploymentError("\n".join(failures))


@app.command()
def unregister(folder: Folder, hospital: ClientNames) -> None:
    """Permanently revoke hospitals' keys: `rekey` and `register` admit a hospital again."""
    from omnifm.deploy.operator import control

    link = control(folder / "operator")
    for name in hospital:
        link.unregister(name)
        _say(f"{name}: revoked")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="The folder of this machine: server, a hospital's or operator.")],
    key: Annotated[
        bool, typer.Option("--key", help="Test a hospital's key by connecting with it; not while its service runs.")
    ] = False,
) -> None:
    """Report problems of this machine and their remedies; exit status 1 if there is any."""
    from omnifm.deploy.check import check_folder

    worst = 0
    for finding in check_folder(folder, key=key):
        mark, colour = {"good": ("ok", "green"), "warning": ("look", "yellow"), "bad": ("BAD", "red")}[finding.severity]
        _out.print(
            f"[{colour}]{mark:5}[/]{escape(f'{finding.subject}: {finding.text}')}", highlight=False, soft_wrap=True
        )
        if finding.remedy:
            _say(f"      {finding.remedy}")
        worst |= finding.severity == "bad"
    raise typer.Exit(worst)


@app.command()
def run(
    folder: Operator,
    experiment: Annotated[
        Path | None, typer.Argument(help="The experiment file (TOML); its [data] is not used.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file.")
    ] = None,
    out: Annotated[str, typer.Option(help="The run's folder on the server; runs/NAME of its state if not given.")] = "",
    resume: Annotated[str, typer.Option(metavar="NAME", help="Resume the run of this name on the server.")] = "",
    readmit: Annotated[
        list[str] | None,
        typer.Option("--readmit", metavar="HOSPITAL", help="With --resume: admit one again that was set aside."),
    ] = None,
) -> None:
    """Start an experiment on the deployment and stream its log; the run continues without this command."""
    from omnifm.config.experiment import read_plan
    from omnifm.deploy import operator

    if experiment is None and (overrides or not resume):
        raise DeploymentError("Give an experiment file, or --resume NAME alone to resume a run.")
    if readmit and not resume:
        raise DeploymentError("--readmit is for a run that is resumed: give --resume NAME too.")
    if resume and out:
        raise DeploymentError("--out and --resume are two folders for one run: give only one of them.")
    plan = None if experiment is None else read_plan(experiment, overrides or ())
    where = resume or out or (plan.name if plan else "")
    document = plan.document if plan else None
    raise typer.Exit(operator.submit(folder, document, where, resume=bool(resume), readmit=readmit or ()))


@app.command()
def status(
    folder: Annotated[Path, typer.Argument(help="The server's folder, or an operator's.")],
    run: Annotated[
        Path | None, typer.Option(help="The run's folder; on the server the latest one, if not given.")
    ] = None,
    events: Annotated[int, typer.Option(min=0, help="How many of the last events.")] = 8,
) -> None:
    """Show the connected hospitals, the round, and the state of each hospital."""
    from omnifm.deploy.status import show

    for part in show(folder, run, events):
        _out.print(part, highlight=False, soft_wrap=isinstance(part, str))


@app.command()
def model(
    client: Annotated[Path, typer.Argument(help="The hospital's client.toml.")],
    run: Annotated[Path, typer.Argument(help="A copy of the run's folder, which the operator has.")],
    arm: Annotated[str | None, typer.Option(help="Which arm; not needed if there is one.")] = None,
) -> None:
    """Add a hospital's own model to its copy of a run's folder, for `omnifm predict` and `export`; nothing leaves."""
    from omnifm.deploy.own_model import add_own_model
    from omnifm.engines.flower.client_config import read_client_config
    from omnifm.results.result_folder import refuse_comparison
    from omnifm.runs.run import plan_of

    refuse_comparison(run, ", which keeps no weights. Give a run")
    config = read_client_config(client)
    loaded = add_own_model(config, run, plan_of(run), arm)
    _say(f"Added the model of {config.name} after round {loaded.best_round}. Use it:")
    name = shlex.quote(config.name)
    _say(f"  omnifm predict {shlex.quote(str(run))} IMAGES --arm {shlex.quote(loaded.name)} --client {name}")


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(help="A hospital's audit.jsonl; its older files beside it are checked too.")],
) -> None:
    """Check that no line of a hospital's audit log was changed or taken out; exit status 1 if one was."""
    from omnifm.engines.flower.audit_log import audited

    try:
        count, last, problems = audited(file)
    except OSError as error:
        raise DeploymentError(f"The audit log {error.filename} cannot be read: {error.strerror}.") from None
    if not count:
        raise DeploymentError(f"There is no entry in {file}: give the audit.jsonl of a hospital's folder for state.")
    for problem in problems:
        _say(problem)
    _say(f"{count} entries, {len(problems)} problems. The SHA-256 of the last line is {last}.")
    raise typer.Exit(1 if problems else 0)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def flwr(folder: Operator, context: typer.Context) -> None:
    """Run Flower's own command against the deployment: omnifm deploy flwr operator run operator/app --stream."""
    from omnifm.deploy.operator import run_flwr

    raise typer.Exit(run_flwr(folder, context.args))


def _say(text: str) -> None:
    _out.print(escape(text), highlight=False, soft_wrap=True)
