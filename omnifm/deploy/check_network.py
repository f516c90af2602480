"""Checks of the network: the server is reachable, is the right one, and admits only registered machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from omnifm.deploy.check_result import CheckResult, bad, good, warning
from omnifm.deploy.connectivity import ServerResponse, Unreached, call, connect
from omnifm.deploy.deployment_plan import ClientSide, OperatorSide, ServerSide, host_and_port
from omnifm.deploy.operator import control, operator_context, trust
from omnifm.engines.flower.control import try_key
from omnifm.utils.errors import DeploymentError

AHEAD, BEHIND = 5, 305
"""By how many seconds a hospital's clock can be off before the SuperLink refuses its signatures (flwr 1.41)."""
HERE = "127.0.0.1"
_FLEET, _CONTROL = "/v1/fleet/pull-messages", "/v1/control/list-nodes"


def check_way_to_server(folder: Path, side: ClientSide, *, key: bool) -> Iterator[CheckResult]:
    """From a hospital: call the server as its SuperNode will; with ``key``, connect with the hospital's key."""
    where = host_and_port(side.server, side.port)
    try:
        context = trust(folder)
        answer = call(side.server, side.port, context, _FLEET)
    except DeploymentError:
        return  # the authority's certificate has a check of its own
    except Unreached as failure:
        yield bad(failure.step, failure.text, failure.remedy)
        return
    yield good("server", f"{where} is reachable over TLS, with a certificate of our authority.")
    yield from _clock(answer)
    yield _superlink(answer, where)
    if key and answer.status == 401:
        try:
            try_key(f"https://{where}", context, folder / "hospital.key")
        except DeploymentError as error:
            remedy = "If this hospital's service runs, stop it and try again; if not, have the operator register it."
            yield bad("key", str(error), remedy)
        else:
            yield good("key", "The server knows this hospital's key.")


def check_way_of_operator(folder: Path, side: OperatorSide) -> Iterator[CheckResult]:
    """From an operator: call the control API."""
    where = host_and_port(side.server, side.port)
    try:
        answer = call(side.server, side.port, operator_context(folder), _CONTROL)
        nodes = control(folder).nodes()
    except Unreached as failure:
        yield bad(failure.step, failure.text, failure.remedy)
    except DeploymentError as error:
        yield bad("server", str(error), "See `omnifm deploy check` on the server.")
    else:
        yield from _clock(answer)
        online = sum(node.status == "online" for node in nodes)
        yield good(
            "server", f"{where} admits this operator; {online} of {len(nodes)} registered hospitals are connected."
        )


def check_doors(folder: Path, side: ServerSide) -> Iterator[CheckResult]:
    """On the server: SuperLink and proxy answer, by all names, and refuse what they must."""
    ports = side.ports
    try:
        context = trust(folder)
        call(HERE, ports.superlink, context, "/health", "GET")
    except DeploymentError:
        return  # the authority's certificate has a check of its own
    except Unreached as failure:
        yield bad(
            "SuperLink", failure.text, "Start it: `systemctl start omnifm-server`; `journalctl -u omnifm-server`."
        )
        return
    yield good("SuperLink", f"It answers on port {ports.superlink} of this machine.")
    try:
        for name in side.servers:
            answer = call(HERE, ports.hospitals, context, _FLEET, name=name)
        yield _superlink(answer, f"the hospitals' port {ports.hospitals}")
        passed = call(HERE, ports.hospitals, context, _CONTROL)
        unknown = call(HERE, ports.operators, context, _CONTROL)
    except Unreached as failure:
        remedy = "Include nginx.conf in nginx (/etc/nginx/conf.d), run `nginx -t`, and reload it."
        yield bad("proxy", failure.text, failure.remedy if failure.step == "TLS" else remedy)
        return
    ours = "Use nginx.conf as `omnifm deploy init` wrote it."
    if passed.status == 404:
        yield good("proxy", "The hospitals' port accepts no commands.")
    else:
        yield bad("proxy", f"The hospitals' port {ports.hospitals} accepts commands from anybody!", ours)
    if unknown.status == 400:
        yield good("proxy", f"Operators' port {ports.operators}: refuses connections without a certificate.")
    else:
        yield bad("proxy", f"The operators' port {ports.operators} admits connections without a certificate!", ours)
    yield from _loopback_only(side)


def _loopback_only(side: ServerSide) -> Iterator[CheckResult]:
    for name in side.servers:
        with suppress(Unreached), connect(name, side.ports.superlink) as found:
            if not found.getpeername()[0].startswith(("127.", "::1")):
                text = f"The SuperLink's own port is open to all at {host_and_port(name, side.ports.superlink)}!"
                yield bad(
                    "SuperLink", text, "Start it by start.sh (--host 127.0.0.1), and close the port in the firewall."
                )


def _superlink(answer: ServerResponse, where: str) -> CheckResult:
    if answer.status == 401:
        return good("SuperLink", f"It answers at {where}, and requires a registered key.")
    if answer.status in (502, 504):
        text = f"The proxy at {where} answers, the SuperLink behind it does not."
        return bad("SuperLink", text, "Have the operator start it: `systemctl start omnifm-server`.")
    text = f"What answers at {where} is no SuperLink behind our proxy (HTTP status {answer.status})."
    return bad("SuperLink", text, "Is it the right port? The hospitals' and the operators' differ.")


def _clock(answer: ServerResponse) -> Iterator[CheckResult]:
    if answer.ahead is None:
        return
    off = f"{abs(answer.ahead):.0f} seconds {'ahead of' if answer.ahead > 0 else 'behind'} the server's"
    remedy = "Have it set by NTP: `timedatectl set-ntp true`."
    if answer.ahead > AHEAD - 1 or answer.ahead < 5 - BEHIND:
        text = f"This machine's clock is {off}; more than {AHEAD} ahead or {BEHIND} behind is refused."
        yield bad("clock", text, remedy)
    elif abs(answer.ahead) > 2:
        yield warning("clock", f"This machine's clock is {off}.", remedy)
    else:
        yield good("clock", "It agrees with the server's within 2 seconds.")
