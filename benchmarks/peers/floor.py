"""The floor: the same SGD steps in bare workers, without a federation: no weights are sent or averaged.

Workers are forked, with one thread, one network in channels-last layout and fused SGD each, and keep their heap.
"""

from __future__ import annotations

import importlib
import os
from multiprocessing import get_context

import torch
import torch.nn.functional as F

from omnifm.workers.memory import keep_heap
from peers.contest import Contest
from peers.networks import Network

_contest: Contest
_net: Network


def main() -> None:
    contest = Contest.from_arguments()
    workload = contest.workload
    torch.set_num_threads(1)
    importlib.import_module("torch._dynamo")  # otherwise every worker imports it at its first step
    batches = range(0, workload.held_out, workload.evaluation_batch)
    with get_context("fork").Pool(len(os.sched_getaffinity(0)), _begin, (contest,)) as pool:
        for number in range(1, contest.rounds + 1):
            pool.map(_train, workload.sampled(number), chunksize=1)
            pool.map(_evaluate, batches, chunksize=1)
            contest.round_done(None)
    contest.report()


def _begin(contest: Contest) -> None:
    global _contest, _net
    torch.set_num_threads(1)
    keep_heap()
    _contest, _net = contest, contest.workload.first_network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _train(client: int) -> None:
    workload = _contest.workload
    images, labels = _contest.images.client(client)
    _net.train()
    optimizer = torch.optim.SGD(_net.parameters(), lr=workload.rate, momentum=workload.momentum, fused=True)
    for rows in torch.randperm(len(labels)).split(workload.batch):
        batch = images[rows].contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        F.cross_entropy(_net(batch), labels[rows]).backward()
        optimizer.step()


@torch.no_grad()
def _evaluate(first: int) -> int:
    images, labels = _contest.images.held_out()
    rows = slice(first, first + _contest.workload.evaluation_batch)
    _net.eval()
    return int((_net(images[rows].contiguous(memory_format=torch.channels_last)).argmax(dim=1) == labels[rows]).sum())


if __name__ == "__main__":
    main()
