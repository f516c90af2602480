"""Local training and evaluation as any PyTorch tutorial has them."""

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
    """Return the share of images whose class is found."""
    net.eval()
    parts = zip(images.split(workload.judged), labels.split(workload.judged), strict=True)
    return sum(int((net(x).argmax(dim=1) == y).sum()) for x, y in parts) / len(labels)
