"""Flower's simulation, as in its PyTorch quickstart: a ClientApp, a ServerApp with FedAvg, and Ray, one core a client.

The global model is evaluated at the server. ``run_simulation`` starts the engine that ``flwr run`` starts, without the
processes that the command adds.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from peers.contest import Contest
from peers.training import accuracy, train


def client_app(contest: Contest) -> ClientApp:
    """Return the app of a client."""
    app = ClientApp()

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        net = contest.workload.network()
        net.load_state_dict(message.content["arrays"].to_torch_state_dict())
        images, labels = contest.images.client(int(context.node_config["partition-id"]))
        train(net, images, labels, contest.workload)
        reply: dict[str, Any] = {
            "arrays": ArrayRecord(net.state_dict()),
            "metrics": MetricRecord({"num-examples": len(labels)}),
        }
        return Message(content=RecordDict(reply), reply_to=message)

    return app


def server_app(contest: Contest) -> ServerApp:
    """Return the app of the server."""
    app, workload = ServerApp(), contest.workload
    net, held_out = workload.first_network(), contest.images.held_out()

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        net.load_state_dict(arrays.to_torch_state_dict())
        score = accuracy(net, *held_out, workload)
        if number > 0:
            contest.round_done(score)
        return MetricRecord({"accuracy": score})

    @app.main()
    def serve(grid: Grid, context: Context) -> None:
        strategy = FedAvg(
            fraction_train=workload.per_round / workload.clients,
            fraction_evaluate=0.0,
            min_available_nodes=workload.clients,
        )
        strategy.start(
            grid=grid,
            initial_arrays=ArrayRecord(net.state_dict()),
            num_rounds=contest.rounds,
            evaluate_fn=evaluate,
        )

    return app


def main() -> None:
    contest = Contest.from_arguments()
    run_simulation(
        server_app(contest),
        client_app(Contest(*sys.argv[1:4])),
        num_supernodes=contest.workload.clients,
        backend_config={
            "client_resources": {"num_cpus": 1},
            "init_args": {"num_cpus": len(os.sched_getaffinity(0))},
        },
    )
    contest.report()


if __name__ == "__main__":
    main()
