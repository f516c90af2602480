"""Local training and evaluation as in any PyTorch tutorial."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peers.workloads import Workload


def train(net: nn.Module, images: Tensor, labels: Tensor, workload: Workload) -> None:
    """Train one epoch in a new order."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=workload.rate, momentum=workload.momentum)
    for rows in torch.randperm(len(labels)).split(workload.batch):
        optimizer.zero_grad()
        F.cross_entropy(net(images[rows]), labels[rows]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, workload: Workload) -> float:
    """Return the share of images with the right class."""
    net.eval()
    parts = zip(images.split(workload.evaluation_batch), labels.split(workload.evaluation_batch), strict=True)
    return sum(int((net(x).argmax(dim=1) == y).sum()) for x, y in parts) / len(labels)
