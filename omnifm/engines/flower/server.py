"""A whole run over the network: wait for the hospitals, agree on what all share, and play every arm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path

from omnifm.checkpoint.client_store import RemoteStateStore, StateStore
from omnifm.checkpoint.kept_weights import KeptWeights
from omnifm.checkpoint.manager import CheckpointManager
from omnifm.config.experiment import Experiment, Plan
from omnifm.engines.flower.client_manager import ClientManager
from omnifm.engines.flower.config_exchange import public_config
from omnifm.engines.flower.deploy_settings import DeploySettings, deploy_settings
from omnifm.engines.flower.engine import FlowerEngine
from omnifm.engines.flower.events import Events
from omnifm.engines.flower.membership import Membership, agree, read_membership
from omnifm.engines.flower.messages import Request
from omnifm.engines.flower.transport import GridTransport
from omnifm.federation.loop import Callback, EvaluationEvent, RoundEvent
from omnifm.runs import run as runs
from omnifm.runs.arm import Arm, DataSpec
from omnifm.runs.run_arm import Watcher
from omnifm.utils.errors import DeploymentError, ExperimentError
from omnifm.utils.lock import locked

_log = logging.getLogger("omnifm.deploy")
_PATIENCE = 60.0
TransportFactory = Callable[[DeploySettings], GridTransport]


def run_server(
    given: Plan | None,
    folder: Path,
    resume: bool,
    make_transport: TransportFactory,
    watch: Watcher = lambda name, arm: (),
    settings: DeploySettings | None = None,
) -> None:
    """Play a new run in a folder, or go on with the one that is there; ``settings``, if not those of the experiment.

    Raises:
        OmniFMError: what must be mended before it can go on, in words.
    """
    with _locked(folder):
        plan = runs.resume(folder, given) if resume or given is None else runs.create(folder, given)
        settings = settings or deploy_settings((given or plan).document)
        _alike(plan)
        events = Events(folder)
        events.tell("resumed" if resume else "begun", text=f"{plan.name}, OmniFM {version('omnifm')}")
        hospitals = ClientManager(make_transport(settings), events, lambda: _introduce(plan), read_membership(folder))
        membership = _assemble(hospitals, settings)
        stage = FlowerBackend(membership, hospitals, settings)
        runs.execute(plan, folder, stage, lambda name, arm: [*watch(name, arm), Teller(name, arm, events)])
        events.tell("finished", text=f"all of it is in {folder} on the server, the report in report.html there")
        events.stand(phase="finished")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder. The app of a SuperLink that was killed may live, and hold it, a little longer."""
    end = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except ExperimentError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)
        yield


class FlowerBackend:
    """The stage of a deployment: no data are here, and no hospital's state."""

    states: StateStore = RemoteStateStore()

    def __init__(self, membership: Membership, hospitals: ClientManager, settings: DeploySettings) -> None:
        self._membership, self._hospitals, self._settings = membership, hospitals, settings
        self._weights: dict[str, str] = {}

    def arm(self, experiment: Experiment, kept: KeptWeights | None) -> Arm:
        """Put an arm together from what the hospitals told."""
        arm = self._membership.arm(experiment, kept)
        self._weights = kept.index() if kept else {}
        if arm.algorithm.pools_data:
            raise DeploymentError(f"{experiment.algorithm!r} pools the data of all: no federation can do that.")
        return arm

    def data_spec(self, arm: Arm) -> DataSpec:
        """Return what the hospitals told, those too that came later."""
        return self._membership.data_spec

    def engine(self, name: str, arm: Arm, checkpoints: CheckpointManager) -> FlowerEngine:
        """Return the engine for an arm."""
        weights = self._weights.get(arm.experiment.init, "")
        return FlowerEngine(name, arm, self._membership, self._hospitals, checkpoints, self._settings, weights)


class Teller(Callback):
    """Tells how the rounds go."""

    def __init__(self, name: str, arm: Arm, events: Events) -> None:
        self.name, self.rounds, self.events = name, arm.experiment.federation.rounds, events
        self.metric = arm.task.main_metric

    def round_started(self, number: int, clients: Sequence[str]) -> None:
        """Say which round has begun."""
        self.events.stand(phase="training", arm=self.name, round=number, rounds=self.rounds)

    def round_done(self, event: RoundEvent) -> None:
        """Say how many hospitals took part in a round."""
        names = ", ".join(sorted(event.clients))
        loss = sum(one["loss"] for one in event.clients.values()) / max(1, len(event.clients))
        text = f"{self.name} {event.round}/{self.rounds} with {names}; loss {loss:.3f}, {event.seconds:.1f} s"
        self.events.tell("round", text=text, arm=self.name, round=event.round)

    def evaluated(self, event: EvaluationEvent) -> None:
        """Say how well the models do."""
        text = f"{event.split}, {event.point}: {self.metric} {event.mean(self.metric):.3f}"
        self.events.tell("evaluation", text=f"{self.name} {text}", arm=self.name, round=event.round)


def _alike(plan: Plan) -> None:
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
