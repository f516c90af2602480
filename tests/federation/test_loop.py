from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from helpers import made_holdings, packed, same_checkpoint

from omnifm.algorithms.aggregation.aggregator import Mean
from omnifm.algorithms.fedavg import FedAvg
from omnifm.callbacks.callback import Callback, CallbackResult, Stop
from omnifm.callbacks.early_stopping import EarlyStopping
from omnifm.callbacks.events import (
    ArmInfo,
    ArmStart,
    CheckpointEvent,
    EvaluationEvent,
    RoundEvent,
    RoundStart,
    UploadEvent,
)
from omnifm.config.experiment import FederationSettings
from omnifm.core.checkpoint import Checkpoint
from omnifm.core.evaluation import EvaluationPoint, Split
from omnifm.core.records import Broadcast, ClientState, ServerState, Upload
from omnifm.core.tensors import Tensors
from omnifm.federation.loop import NO_MESSAGES, Federation, Messages, _norm_sent, sample
from omnifm.privacy.step import UploadStep
from omnifm.tasks.task import Panel, Scores
from omnifm.utils.errors import RoundRefused

NAMES = ["CT-1", "CT-2", "MRI", "PET", "SPECT"]


class FakeEngine:
    """Each client moves the weight by one; ``scripted`` tells the metric by evaluation point and round."""

    def __init__(self, scripted: Mapping[str, Mapping[int, float]] | None = None) -> None:
        self.scripted = scripted or {}
        self.trained: list[list[str]] = []
        self.messages: list[dict[str, Tensors]] = []
        self.evaluated: list[tuple[int, str, str]] = []
        self._states: dict[str, ClientState] = {}

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        self.trained.append(list(clients))
        self.messages.append(dict(messages))
        for name in clients:
            before = self._states.get(name, ClientState()).notes.get("rounds", 0)
            self._states[name] = ClientState(notes={"rounds": before + 1})
            yield Upload(name, 10, 0.5, {"w": torch.ones(2)})

    def evaluate(
        self,
        broadcast: Broadcast,
        clients: Sequence[str],
        split: Split,
        point: EvaluationPoint,
        messages: Messages = NO_MESSAGES,
    ) -> Iterator[tuple[str, Scores]]:
        number = broadcast.round - 1
        self.messages.append(dict(messages))
        self.evaluated.append((number, split, point))
        for name in clients:
            yield name, Scores({"accuracy": self.scripted.get(point, {}).get(number, 0.0)}, {})

    @property
    def samples(self) -> dict[str, int]:
        return dict.fromkeys(NAMES, 10)

    @property
    def seconds(self) -> dict[str, float]:
        return {"CT-1": 2.0, "MRI": 0.12345}

    @property
    def states(self) -> dict[str, ClientState]:
        return dict(self._states)

    def restore(self, states: Mapping[str, ClientState]) -> None:
        self._states = dict(states)

    def show(self, broadcast: Broadcast, name: str, point: EvaluationPoint, count: int) -> list[Panel]:
        return []


class Diary(Callback):
    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.rounds: list[RoundEvent] = []

    def on_arm_start(self, event: ArmStart) -> None:
        self.lines.append(("arm", event.checkpoint.server.round))

    def on_round_start(self, event: RoundStart) -> None:
        self.lines.append(("started", event.round, list(event.clients)))

    def on_upload(self, event: UploadEvent) -> None:
        self.lines.append(("client", event.upload.client))

    def on_round_end(self, event: RoundEvent) -> None:
        self.lines.append(("done", event.round))
        self.rounds.append(event)

    def on_evaluate(self, event: EvaluationEvent) -> None:
        self.lines.append(("evaluated", event.round, event.split, event.point))

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        self.lines.append(("checkpoint", event.checkpoint.server.round, event.improved))


def federation(engine: FakeEngine, *callbacks: Callback, names: Sequence[str] = NAMES, **settings: Any) -> Federation:
    plain = FederationSettings(**settings)
    stopping = [EarlyStopping(plain.patience, plain.evaluate_every)] if plain.patience else []
    return Federation(
        FedAvg(),
        engine,
        participants=names,
        evaluated=names,
        settings=plain,
        seed=0,
        metric="accuracy",
        callbacks=[*stopping, *callbacks],
    )


def start() -> Checkpoint:
    return Checkpoint(FedAvg().init({"w": torch.zeros(2)}, ["w"], made_holdings(len(NAMES))))


@pytest.mark.parametrize(
    ("count", "participation", "expected"), [(10, 0.2, 2), (5, 0.5, 2), (5, 0.1, 1), (1, 0.01, 1), (7, 1.0, 7)]
)
def test_how_many_take_part(count: int, participation: float, expected: int) -> None:
    names = [f"client {number}" for number in range(count)]
    assert len(sample(names, participation, 0, 1)) == expected


def test_the_choice_does_not_depend_on_the_order_of_clients() -> None:
    for number in range(20):
        one = sample(NAMES, 0.4, 7, number)
        assert sample(NAMES[::-1], 0.4, 7, number) == one[::-1]
        assert one == [name for name in NAMES if name in one]


def test_the_choice_depends_on_round_and_seed() -> None:
    names = [str(number) for number in range(100)]
    assert sample(names, 0.1, 0, 1) == sample(names, 0.1, 0, 1)
    assert sample(names, 0.1, 0, 1) != sample(names, 0.1, 0, 2)
    assert sample(names, 0.1, 0, 1) != sample(names, 0.1, 1, 1)


def test_the_choice_is_the_same_in_another_process() -> None:
    # Neither an id nor Python's salted hash of a name would be.
    code = f"from omnifm.federation.loop import sample; print([sample({NAMES!r}, 0.4, 7, n) for n in range(20)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == [sample(NAMES, 0.4, 7, number) for number in range(20)]


def test_a_newcomer_displaces_only_those_it_outranks() -> None:
    for number in range(20):
        before, after = set(sample(NAMES, 0.4, 0, number)), set(sample([*NAMES, "new"], 0.34, 0, number))
        assert len(after) == 2
        assert after - {"new"} <= before


def test_all_clients_are_chosen_about_as_often() -> None:
    chosen = Counter(name for number in range(500) for name in sample(NAMES, 0.4, 0, number))
    # Binomial: 200 expected, standard deviation 11.
    assert all(abs(chosen[name] - 200) < 45 for name in NAMES)


def test_the_sampled_clients_train() -> None:
    engine = FakeEngine()
    federation(engine, participation=0.4, rounds=3).run(start())
    assert engine.trained == [sample(NAMES, 0.4, 0, number) for number in (1, 2, 3)]


def test_callbacks_in_order() -> None:
    one, other = Diary(), Diary()
    engine = FakeEngine({"before_local_training": {2: 0.5, 3: 0.6}, "after_local_training": {2: 0.7, 3: 0.7}})
    federation(engine, one, other, names=["a", "b"], rounds=3, evaluate_every=2).run(start())
    trained = [("client", "a"), ("client", "b")]
    assert one.lines == other.lines
    assert one.lines == [
        ("arm", 0),
        ("started", 1, ["a", "b"]),
        *trained,
        ("done", 1),
        ("checkpoint", 1, ()),
        ("started", 2, ["a", "b"]),
        *trained,
        ("done", 2),
        ("evaluated", 2, "validation", "before_local_training"),
        ("evaluated", 2, "validation", "after_local_training"),
        ("checkpoint", 2, ("before_local_training", "after_local_training")),
        ("started", 3, ["a", "b"]),
        *trained,
        ("done", 3),
        ("evaluated", 3, "validation", "before_local_training"),
        ("evaluated", 3, "validation", "after_local_training"),
        ("checkpoint", 3, ("before_local_training",)),
    ]


def test_the_best_round_is_chosen_on_validation_data_by_evaluation_point() -> None:
    scores = {
        "before_local_training": {1: 0.2, 2: 0.6, 3: 0.6, 4: 0.1},
        "after_local_training": {1: 0.9, 2: 0.8, 3: 0.8, 4: 0.95},
    }
    engine = FakeEngine(scores)
    last = federation(engine, rounds=4, evaluate_every=1).run(start())
    assert last.best == {"before_local_training": (2, 0.6), "after_local_training": (4, 0.95)}
    assert {split for _, split, _ in engine.evaluated} == {"validation"}


class Absent(FakeEngine):
    """In round 2 only the client that is good at it answers."""

    def evaluate(self, broadcast: Broadcast, clients: Sequence[str], *asked: Any) -> Iterator[tuple[str, Scores]]:
        for name, found in super().evaluate(broadcast, clients, *asked):
            if broadcast.round != 3 or name == "MRI":
                yield name, Scores({"accuracy": found.numbers["accuracy"] + 0.4 * (name == "MRI")}, {})


@pytest.mark.parametrize(("second", "best"), [(0.5, 1), (0.6, 2)])
def test_a_round_without_the_weak_hospitals_is_compared_on_those_it_has(second: float, best: int) -> None:
    point: EvaluationPoint = "before_local_training"
    engine = Absent({point: {1: 0.5, 2: second, 3: 0.4}})
    last = federation(engine, rounds=3, evaluate_every=1, evaluate=(point,)).run(start())
    assert last.best[point][0] == best
    assert last.best_scores[point].keys() == ({*NAMES} if best == 1 else {"MRI"})
    assert packed(last).best_scores == last.best_scores


class Refusing(FakeEngine):
    """Round 2 does not count, though all clients have trained."""

    def update(
        self, broadcast: Broadcast, clients: Sequence[str], messages: Messages = NO_MESSAGES
    ) -> Iterator[Upload]:
        yield from super().update(broadcast, clients, messages)
        if broadcast.round == 2:
            raise RoundRefused("it is round 2")


def test_a_round_that_is_refused_changes_no_client_either() -> None:
    diary = Diary()
    last = federation(Refusing(), diary, rounds=3, evaluate_every=3).run(start())
    assert last.server.shared["w"].tolist() == [2.0, 2.0]
    assert {state.notes["rounds"] for state in last.clients.values()} == {2}
    assert [bool(one.refused) for one in diary.rounds] == [False, True, False]


def test_the_bound_on_norms_knows_the_weights_of_a_clients_circle() -> None:
    broadcast = Broadcast(1, {"w": torch.tensor([3.0])})
    messages = {"a": {"weights/v": torch.tensor([4.0])}, "b": {"reference/v": torch.tensor([4.0])}}
    assert [_norm_sent(3.0, broadcast, messages, name) for name in "abc"] == [5.0, 5.0, 3.0]


FALLING = {
    "before_local_training": {2: 0.5, 4: 0.4, 6: 0.3, 8: 0.2},
    "after_local_training": {2: 0.5, 4: 0.6, 6: 0.6, 8: 0.6},
}


@pytest.mark.parametrize(("patience", "end"), [(0, 20), (1, 6), (2, 8), (3, 10), (9, 20)])
def test_it_stops_when_no_reading_has_improved_for_so_many_evaluations(patience: int, end: int) -> None:
    engine = FakeEngine(FALLING)
    last = federation(engine, rounds=20, evaluate_every=2, patience=patience).run(start())
    assert last.server.round == end
    assert last.best == {"before_local_training": (2, 0.5), "after_local_training": (4, 0.6)}


def test_a_run_that_continues_stops_where_it_would_have() -> None:
    for before in range(1, 9):
        half = federation(FakeEngine(FALLING), rounds=before, evaluate_every=2, patience=2).run(start())
        if before % 2:  # the last round of a run is always judged: not so in the longer one
            half = Checkpoint(half.server, half.clients, {r: b for r, b in half.best.items() if b[0] % 2 == 0})
        kept = packed(half)
        last = federation(FakeEngine(FALLING), rounds=20, evaluate_every=2, patience=2).run(kept)
        assert last.server.round == 8
        assert federation(FakeEngine(FALLING), rounds=20, evaluate_every=2, patience=2).run(last) is last


class Stopping(Callback):
    """Asks to stop in one event of round 2."""

    def __init__(self, event: str, answer: CallbackResult) -> None:
        setattr(self, event, lambda told: answer if number_of(told) == 2 else None)


def number_of(event: Any) -> int:
    return int(event.checkpoint.server.round if hasattr(event, "checkpoint") else event.round)


@pytest.mark.parametrize(
    ("event", "played"),
    [("on_round_start", 1), ("on_upload", 2), ("on_round_end", 2), ("on_evaluate", 2), ("on_checkpoint", 2)],
)
def test_any_event_can_stop_the_rounds(event: str, played: int) -> None:
    # What was begun is finished: all clients, the evaluation and the checkpoint; a round not begun does not begin.
    engine, diary = FakeEngine(), Diary()
    loop = federation(engine, Stopping(event, Stop("enough")), diary, rounds=5, evaluate_every=1)
    assert loop.run(start()).server.round == played
    assert loop.stop == Stop("enough")
    assert engine.trained == [NAMES] * played
    assert diary.lines[-1][:2] == (("checkpoint", played) if event != "on_round_start" else ("started", 2))
    assert len([line for line in diary.lines if line[0] == "evaluated"]) == 2 * played


def test_the_round_that_a_stop_makes_the_last_is_evaluated() -> None:
    for pause, evaluated in ((False, {2}), (True, set())):
        engine = FakeEngine()
        federation(engine, Stopping("on_upload", Stop("enough", pause)), rounds=9, evaluate_every=5).run(start())
        assert {number for number, _, _ in engine.evaluated} == evaluated


def test_true_stops_too_and_names_the_callback() -> None:
    loop = federation(FakeEngine(), Stopping("on_upload", True), rounds=5)
    assert loop.run(start()).server.round == 2
    assert loop.stop == Stop("Stopping asked to stop")


def test_a_stop_for_good_goes_before_a_pause() -> None:
    pause, end = (Stopping("on_checkpoint", Stop(text, pause=text == "pause")) for text in ("pause", "end"))
    loop = federation(FakeEngine(), pause, end, rounds=5)
    loop.run(start())
    assert loop.stop == Stop("end")


def test_an_arm_that_is_stopped_at_its_start_plays_no_round() -> None:
    half = federation(FakeEngine(), rounds=2).run(start())
    loop = federation(FakeEngine(), Stopping("on_arm_start", True), rounds=5)
    assert loop.run(half) is half


def test_a_point_that_is_not_requested_is_not_evaluated() -> None:
    engine = FakeEngine()
    last = federation(engine, rounds=2, evaluate_every=1, evaluate=("before_local_training",)).run(start())
    assert {point for _, _, point in engine.evaluated} == {"before_local_training"}
    assert last.best.keys() == {"before_local_training"}


def test_the_last_round_is_always_evaluated() -> None:
    engine = FakeEngine()
    federation(engine, rounds=5, evaluate_every=3).run(start())
    assert [number for number, _, point in engine.evaluated if point == "before_local_training"] == [3, 5]


def test_weights_and_states_of_the_end() -> None:
    last = federation(FakeEngine(), rounds=3).run(start())
    assert last.server.shared["w"].tolist() == [3.0, 3.0]
    assert last.server.round == 3
    assert {name: state.notes["rounds"] for name, state in last.clients.items()} == dict.fromkeys(NAMES, 3)


def test_event_of_a_round_tells_what_was_sent() -> None:
    diary = Diary()
    federation(FakeEngine(), diary, participation=0.4, rounds=1).run(start())
    (event,) = diary.rounds
    took = {"CT-1": {"seconds": 2.0}, "MRI": {"seconds": 0.123}}
    chosen = sample(NAMES, 0.4, 0, 1)
    assert event.clients == {name: {"loss": 0.5, "samples": 10, **took.get(name, {})} for name in chosen}
    assert (event.bytes_down, event.bytes_up) == (2 * 8, 2 * 8)
    assert event.seconds >= 0


class Greeting(FedAvg):
    """Sends one client what no other receives."""

    def message(self, state: ServerState, client: str) -> Tensors:
        return {"hello": torch.full((3,), float(state.round))} if client == "MRI" else {}


def test_messages_go_to_their_clients_alone_and_are_counted() -> None:
    engine, diary = FakeEngine(), Diary()
    made = federation(engine, diary, rounds=2, evaluate_every=2, evaluate=("before_local_training",))
    made.algorithm = Greeting()
    made.run(start())
    # To train twice and to be judged after the second round.
    assert [{name: message["hello"].tolist() for name, message in one.items()} for one in engine.messages] == [
        {"MRI": [number] * 3} for number in (0.0, 1.0, 2.0)
    ]
    assert [event.bytes_down for event in diary.rounds] == [5 * 8 + 12] * 2


class Halving(UploadStep):
    def on_server(self, mean: Mean) -> Mean:
        return mean._replace(change={name: value / 2 for name, value in mean.change.items()})


class Adding(UploadStep):
    def on_server(self, mean: Mean) -> Mean:
        return mean._replace(change={name: value + 3 for name, value in mean.change.items()})


def test_steps_change_the_mean_before_the_server_step_in_reverse_order() -> None:
    made = federation(FakeEngine(), rounds=1)
    made.steps = [Halving(), Adding()]
    assert made.run(start()).server.shared["w"].tolist() == [2.0, 2.0]


def test_going_on_from_a_snapshot_is_as_never_having_stopped() -> None:
    scores = {"before_local_training": {1: 0.5, 2: 0.4, 3: 0.6}, "after_local_training": {1: 0.5, 2: 0.4, 3: 0.3}}
    whole = federation(FakeEngine(scores), participation=0.6, rounds=3, evaluate_every=1).run(start())
    half = federation(FakeEngine(scores), participation=0.6, rounds=2, evaluate_every=1).run(start())
    resumed = federation(FakeEngine(scores), participation=0.6, rounds=3, evaluate_every=1).run(packed(half))
    assert same_checkpoint(resumed, whole)


def test_a_finished_run_plays_no_round() -> None:
    engine = FakeEngine()
    done = federation(engine, rounds=1).run(start())
    engine.trained.clear()
    assert federation(engine, rounds=1).run(done) is done
    assert engine.trained == []


def test_mean_is_over_the_clients_that_have_the_metric() -> None:
    given = {"a": Scores({"auc": 0.5}, {}), "b": Scores({"auc": 1.0}, {}), "c": Scores({"accuracy": 0.0}, {})}
    event = EvaluationEvent(ArmInfo(), 1, split="test", point="before_local_training", scores=given)
    assert event.mean("auc") == pytest.approx(0.75)
    assert np.isnan(event.mean("dice"))
