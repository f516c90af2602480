"""Apple's pfl, as in its PyTorch tutorial: a SimulatedBackend, FederatedAveraging, and central evaluation.

Started alone it is one process; started by ``torchrun`` with two, pfl distributes the clients and sums with gloo.
pfl sums parameters only: the statistics of batch normalisation are those of the last client trained.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.callback.central_evaluation import CentralEvaluationCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, StringMetricName, Weighted, get_overall_value
from pfl.model.pytorch import PyTorchModel
from torch import Tensor, nn

from peers.contest import Contest


class Evaluated(nn.Module):
    """The network with the two methods that pfl requires."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss."""
        self.train()
        return F.cross_entropy(self.net(images), labels)

    @torch.no_grad()
    def metrics(self, images: Tensor, labels: Tensor) -> dict[str, Weighted]:
        """Return the metrics."""
        self.eval()
        hits = int((self.net(images).argmax(dim=1) == labels).sum())
        return {"accuracy": Weighted(hits, len(labels))}


class Notes(TrainingProcessCallback):  # type: ignore[misc]
    """Notes the end of each round; pfl evaluates before the first one instead of after it."""

    def __init__(self, contest: Contest) -> None:
        self.contest = contest

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: Any, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Take the accuracy of the evaluation before this callback."""
        name = StringMetricName("Central val | accuracy")
        accuracy = get_overall_value(aggregate_metrics[name]) if central_iteration > 0 else None
        self.contest.round_done(accuracy)
        return False, Metrics()


def main() -> None:
    contest = Contest.from_arguments()
    workload = contest.workload
    torch.manual_seed(0)

    @cache
    def client(number: int) -> PyTorchTensorDataset:
        return PyTorchTensorDataset(contest.images.client(number), user_id=str(number))

    clients = FederatedDataset(client, get_user_sampler("minimize_reuse", range(workload.clients)))
    net = Evaluated(workload.first_network())
    model = PyTorchModel(
        net,
        lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=workload.momentum),
        torch.optim.SGD(net.parameters(), lr=1.0),
    )
    evaluation = NNEvalHyperParams(local_batch_size=workload.evaluation_batch)
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=contest.rounds,
            evaluation_frequency=contest.rounds,
            train_cohort_size=workload.per_round,
            val_cohort_size=0,
        ),
        SimulatedBackend(training_data=clients, val_data=clients),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=workload.rate, local_batch_size=workload.batch),
        evaluation,
        [
            CentralEvaluationCallback(PyTorchTensorDataset(contest.images.held_out()), evaluation),
            Notes(contest),
        ],
        send_metrics_to_platform=False,
    )
    if os.environ.get("RANK", "0") == "0":
        contest.report()
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
