from __future__ import annotations

import torch
from torch import nn

from omnifm.training.weight_cache import WeightCache, learned_state_dict


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def values(fill: float) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(value, fill) for name, value in network().state_dict().items()}


def test_values_are_copied() -> None:
    net, given = network(), values(3.0)
    WeightCache(net).load(given)
    given["0.weight"].zero_()
    assert all((value == 3).all() for value in net.state_dict().values())


def test_what_stands_there_already_is_left() -> None:
    net, given = network(), values(3.0)
    weights = WeightCache(net)
    weights.load(given)
    version = net[0].weight._version
    weights.load(given)
    assert net[0].weight._version == version
    weights.load({name: value.clone() for name, value in given.items()})
    assert net[0].weight._version > version


def test_a_change_in_place_is_seen() -> None:
    net, given = network(), values(3.0)
    weights = WeightCache(net)
    weights.load(given)
    with torch.no_grad():
        net[0].weight.mul_(2)
    weights.load(given)
    assert (net[0].weight == 3).all()


def test_statistics_that_training_moved_are_copied_anew() -> None:
    net, given = network(), values(3.0)
    weights = WeightCache(net)
    weights.load(given)
    net.train()(torch.randn(8, 2))
    weights.changed()
    weights.load(given)
    assert (net[1].running_mean == 3).all()
    assert net[1].num_batches_tracked == 3


def test_what_no_gradient_acts_on_is_not_learned() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    network[0].requires_grad_(False)
    buffers = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert learned_state_dict(network).keys() == {"1.weight", "1.bias"} | buffers
    assert WeightCache(network).tensors.keys() == learned_state_dict(network).keys()
    network[1].weight = network[0].weight.requires_grad_(True)
    assert {"0.weight", "1.weight"} <= learned_state_dict(network).keys()
