"""A whole run over the network: wait for the hospitals, agree on what they share, and run every arm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path

from omnifm.callbacks.callback import Callback
from omnifm.checkpoint.client_store import RemoteStateStore, StateStore
from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.config.experiment import Experiment, Plan
from omnifm.engines.flower.client_manager import ClientManager
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.deploy_settings import DeploySettings, deploy_settings
from omnifm.engines.flower.engine import FlowerEngine
from omnifm.engines.flower.event_log import EventLog
from omnifm.engines.flower.membership import Membership, agree, dissenters, read_membership
from omnifm.engines.flower.messages import Request
from omnifm.engines.flower.policy import privacy_asked_for
from omnifm.engines.flower.secure_aggregation.secure_engine import SecureFlowerEngine
from omnifm.engines.flower.set_aside import SetAside
from omnifm.engines.flower.status_log import Events
from omnifm.engines.flower.transport import GridTransport
from omnifm.runs import run as runs
from omnifm.runs.arm import Arm, DataSpec
from omnifm.training.private import Release
from omnifm.utils.errors import DeploymentError, FolderInUseError
from omnifm.utils.lock import locked
from omnifm.utils.signals import check_interrupts

_log = logging.getLogger("omnifm.deploy")
_PATIENCE = 60.0
TransportFactory = Callable[[DeploySettings], GridTransport]


def run_server(
    given: Plan | None, folder: Path, resume: bool, make_transport: TransportFactory, readmit: Sequence[str] = ()
) -> None:
    """Run a new plan in a folder, or resume the run in it, with the clients that ``make_transport`` reaches.

    Those set aside that ``readmit`` names take part again.

    Raises:
        OmniFMError: something must be corrected before it can continue; says what.
    """
    with _locked(folder):
        plan = runs.reopen(folder, given) if resume or given is None else runs.create(folder, given)
        runs.execute(plan, folder, FlowerBackend(make_transport, readmit))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a run's folder. The app of a SuperLink that was killed may hold it a little longer."""
    end = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except FolderInUseError:
                if time.monotonic() > end:
                    raise
                check_interrupts()
                time.sleep(1)
        yield


class FlowerBackend:
    """The backend of a deployment: no data are here, and no client's state."""

    states: StateStore = RemoteStateStore()

    def __init__(self, make_transport: TransportFactory, readmit: Sequence[str] = ()) -> None:
        self._make_transport, self._readmit = make_transport, readmit
        self._weights: dict[str, str] = {}

    @contextmanager
    def open(self, plan: Plan, folder: Path) -> Iterator[Sequence[Callback]]:
        """Wait for the clients, agree with them on what they share, and log the events."""
        self._settings = self.settings(plan)
        _check_same_data(plan)
        self._events = Events(folder)
        begun = "resumed" if runs.has_begun(folder) else "begun"
        self._events.log(begun, text=f"{plan.name}, OmniFM {version('omnifm')}")
        make_transport = self._make_transport(self._settings)
        self._clients = ClientManager(
            make_transport, self._events, lambda: _introduce(plan), membership=read_membership(folder)
        )
        self._membership = _assemble(self._clients, self._settings)
        self._set_aside = SetAside(self._membership, self._events, self._readmit)
        yield [EventLog(self._events), self._set_aside]

    def settings(self, plan: Plan) -> DeploySettings:
        """Return the settings of a plan's deployment."""
        return deploy_settings(plan.document)

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Build an arm from the clients' properties."""
        arm = self._membership.arm(experiment, kept)
        self._weights = kept.index() if kept else {}
        if arm.algorithm.pools_data:
            raise DeploymentError(f"{experiment.algorithm!r} pools all data, which no federation can do.")
        return arm

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return the clients' data properties, including those that joined later."""
        return self._membership.data_spec

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> FlowerEngine:
        """Return the engine for an arm."""
        secure_sum = arm.runtime.secure_sum
        make = FlowerEngine if secure_sum is None else partial(SecureFlowerEngine, secure_sum=secure_sum)
        return make(
            name,
            arm,
            membership=self._membership,
            clients=self._clients,
            checkpoints=checkpoints,
            settings=self._settings,
            set_aside=self._set_aside,
            weights=self._weights.get(arm.experiment.init, ""),
        )


def _check_same_data(plan: Plan) -> None:
    """Check that all arms have one task, form of data and noise on counts: hospitals introduce themselves once."""
    forms = []
    for experiment in plan.arms.values():
        document = public_config(experiment)
        private = privacy_asked_for(experiment)
        told = private and private.budget.noise(Release.PATIENTS)
        forms.append((experiment.task, document.get(experiment.task), document["data"], experiment.seed, told))
    if any(form != forms[0] for form in forms):
        raise DeploymentError(
            "The arms differ in task, data, seed or privacy budget: give each kind an experiment file of its own."
        )


def _introduce(plan: Plan) -> bytes:
    name, experiment = next(iter(plan.arms.items()))
    return Request("", name, 0, public_config(experiment)).to_bytes()


def _assemble(clients: ClientManager, settings: DeploySettings) -> Membership:
    """Wait until enough hospitals are connected, and agree with them unless the run has begun.

    Without names or a number, wait for all that are connected, at most ``grace`` seconds.
    """
    expected: Iterable[str] = settings.hospitals or (clients.membership.names if clients.membership else ())
    specified, begun = bool(expected or settings.wait_for), clients.clock()
    shown: list[str] | None = None
    while True:
        check_interrupts()
        clients.turn()
        connected = [name for name in expected or clients.known if clients.is_connected(name)]
        odd = {} if clients.membership else dissenters({name: clients.known[name].properties for name in connected})
        connected = [name for name in connected if name not in odd]
        first = min(settings.first, len(clients.membership.names)) if clients.membership else settings.first
        late = clients.clock() - begun > settings.grace
        if len(connected) >= first and (specified or late or not clients.has_unidentified):
            break
        if connected != shown:
            missing = [name for name in expected if name not in connected]
            text = f"{len(connected)} hospitals are connected; {first} are needed to begin"
            reasons = "".join(f"; {name}: {reason}" for name, reason in odd.items())
            clients.events.log("waiting", text=text + (f"; not yet {', '.join(missing)}" if missing else "") + reasons)
        shown = connected
        time.sleep(settings.poll)
    known = {name: (clients.known[name].properties, clients.known[name].key) for name in connected}
    return clients.membership or clients.begin(agree(known, settings))
