"""The plain loop: one process, one model, a given number of threads, and the weighted mean of FedAvg."""

from __future__ import annotations

import sys

import torch

from peers.contest import Contest
from peers.training import accuracy, train


def main() -> None:
    contest = Contest.from_arguments()
    workload = contest.workload
    torch.set_num_threads(int(sys.argv[4]))
    torch.manual_seed(0)
    net = workload.first_network()
    shared = {name: value.clone() for name, value in net.state_dict().items()}
    held_out = contest.images.held_out()
    for number in range(1, contest.rounds + 1):
        total = {name: torch.zeros_like(value) for name, value in shared.items()}
        samples = 0
        for client in workload.sampled(number):
            net.load_state_dict(shared)
            images, labels = contest.images.client(client)
            train(net, images, labels, workload)
            for name, value in net.state_dict().items():
                total[name] += value * len(labels)
            samples += len(labels)
        shared = {
            name: value / samples if value.is_floating_point() else value // samples for name, value in total.items()
        }
        net.load_state_dict(shared)
        contest.round_done(accuracy(net, *held_out, workload))
    contest.report()


if __name__ == "__main__":
    main()
