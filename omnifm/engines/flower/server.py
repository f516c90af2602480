"""A whole run over the network: wait for the hospitals, agree on what all share, and play every arm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from omnifm.engines.flower.membership import Membership, agree, read_membership
from omnifm.engines.flower.messages import Request
from omnifm.engines.flower.status_log import Events
from omnifm.engines.flower.transport import GridTransport
from omnifm.runs import run as runs
from omnifm.runs.arm import Arm, DataSpec
from omnifm.utils.errors import DeploymentError, FolderInUseError
from omnifm.utils.lock import locked
from omnifm.utils.signals import check_interrupts

_log = logging.getLogger("omnifm.deploy")
_PATIENCE = 60.0
TransportFactory = Callable[[DeploySettings], GridTransport]


def run_server(given: Plan | None, folder: Path, resume: bool, make_transport: TransportFactory) -> None:
    """Run a new plan in a folder, or resume the one that is there, with the clients that ``make_transport`` reaches.

    Raises:
        OmniFMError: what must be mended before it can go on, in words.
    """
    with _locked(folder):
        plan = runs.reopen(folder, given) if resume or given is None else runs.create(folder, given)
        runs.execute(plan, folder, FlowerBackend(make_transport))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder. The app of a SuperLink that was killed may live, and hold it, a little longer."""
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

    def __init__(self, make_transport: TransportFactory) -> None:
        self._office = make_transport
        self._weights: dict[str, str] = {}

    @contextmanager
    def open(self, plan: Plan, folder: Path) -> Iterator[Sequence[Callback]]:
        """Wait for the clients, agree with them on what all share, and log what happens."""
        self._settings = self.settings(plan)
        _check_alike(plan)
        self._events = Events(folder)
        begun = "resumed" if runs.has_begun(folder) else "begun"
        self._events.tell(begun, text=f"{plan.name}, OmniFM {version('omnifm')}")
        make_transport = self._office(self._settings)
        self._hospitals = ClientManager(
            make_transport, self._events, lambda: _introduce(plan), membership=read_membership(folder)
        )
        self._membership = _assemble(self._hospitals, self._settings)
        yield [EventLog(self._events)]

    def settings(self, plan: Plan) -> DeploySettings:
        """Return the settings of a plan's deployment."""
        return deploy_settings(plan.document)

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together from what the clients told."""
        arm = self._membership.arm(experiment, kept)
        self._weights = kept.index() if kept else {}
        if arm.algorithm.pools_data:
            raise DeploymentError(f"{experiment.algorithm!r} pools the data of all: no federation can do that.")
        return arm

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return what the clients told, those too that came later."""
        return self._membership.data_spec

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> FlowerEngine:
        """Return the engine for an arm."""
        weights = self._weights.get(arm.experiment.init, "")
        return FlowerEngine(
            name,
            arm,
            membership=self._membership,
            hospitals=self._hospitals,
            checkpoints=checkpoints,
            settings=self._settings,
            weights=weights,
        )


def _check_alike(plan: Plan) -> None:
    """Make sure that all arms are of one task on data of one form: hospitals introduce themselves once."""
    forms = []
    for experiment in plan.arms.values():
        document = public_config(experiment)
        forms.append((experiment.task, document.get(experiment.task), document["data"], experiment.seed))
    if any(form != forms[0] for form in forms):
        raise DeploymentError("The arms differ in task, data or seed: give each kind an experiment file of its own.")


def _introduce(plan: Plan) -> bytes:
    name, experiment = next(iter(plan.arms.items()))
    return Request("", name, 0, public_config(experiment)).to_bytes()


def _assemble(hospitals: ClientManager, settings: DeploySettings) -> Membership:
    """Wait until enough hospitals are there, and agree with them if that has not been done.

    Where nobody has said who or how many they are, all that are connected are waited for, but no longer than ``grace``.
    """
    wanted: Iterable[str] = settings.hospitals or (hospitals.membership.names if hospitals.membership else ())
    asked, begun = bool(wanted or settings.wait_for), hospitals.clock()
    shown: list[str] | None = None
    while True:
        check_interrupts()
        hospitals.turn()
        there = [name for name in hospitals.known if hospitals.there(name) and (not wanted or name in wanted)]
        first = min(settings.first, len(hospitals.membership.names)) if hospitals.membership else settings.first
        late = hospitals.clock() - begun > settings.grace
        if len(there) >= first and (asked or late or not hospitals.unmet):
            break
        if there != shown:
            missing = [name for name in wanted if name not in there]
            text = f"{len(there)} hospitals are there, and it begins with {first}"
            hospitals.events.tell("waiting", text=text + (f"; not yet {', '.join(missing)}" if missing else ""))
        shown = there
        time.sleep(settings.poll)
    known = {name: (hospitals.known[name].told, hospitals.known[name].key) for name in there}
    return hospitals.membership or hospitals.begin(agree(known, settings))
