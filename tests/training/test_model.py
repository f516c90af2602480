from __future__ import annotations

import pytest
import torch
from helpers import made_dataset, same, small_arm
from torch import Tensor, nn

from omnifm.training.model import AuxiliaryModule, FederatedModel, always_personal
from omnifm.training.weight_cache import learned_state_dict
from omnifm.utils.errors import ExperimentError

BATCH = made_dataset().clients[0].train.batch(torch.arange(6))


def model(adapter: str = "on", norm: str = "batch") -> FederatedModel:
    settings = {"use": adapter, "keys": "learned"}
    return small_arm("fedavg", adapter=settings, classification={"norm": norm}).runtime.model


@pytest.mark.parametrize("part", ["head", "norm", "statistics", "everything", "network.head.bias", "heads"])
def test_names_in_a_part_are_those_of_the_learned_tensors_that_are_given(part: str) -> None:
    made = model()
    learned = learned_state_dict(made)
    expected = set() if part == "heads" else made.personal_names([part])
    assert made.names_in(part, learned) | SUFFIX == expected | SUFFIX
    assert made.names_in(part, ["network.head.bias"]) <= {"network.head.bias"}
    assert always_personal(learned) == SUFFIX


def below(made: FederatedModel, *places: str) -> set[str]:
    return {name for name in made.state_dict() if name.startswith(tuple(f"{place}." for place in places))}


SUFFIX = {"adapter.prompting.suffix"}


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ("head", "network.head"),
        ("backbone", "network.backbone"),
        ("network", "network"),
        ("adapter", "adapter"),
        ("adapter.tokenizer", "adapter.tokenizer"),
        ("tokenizer", "adapter.tokenizer"),
        ("adapter.fusion.value", "adapter.fusion.value"),
        ("network.head.bias", "network.head.bias"),
    ],
)
def test_parts_are_personal_by_name(part: str, place: str) -> None:
    made = model()
    expected = {name for name in made.state_dict() if name == place or name.startswith(f"{place}.")}
    assert expected
    assert made.personal_names([part]) == expected | SUFFIX


def test_norm_is_the_normalisation_of_the_backbone_with_its_statistics() -> None:
    made = model()
    names = made.personal_names(["norm"]) - SUFFIX
    assert {name.rsplit(".", 1)[1] for name in names} == {
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    assert names < below(made, "network.backbone")
    # The stem and two in each of three blocks.
    assert len(names) == 5 * 7
    assert "network.backbone.3.conv1.weight" not in names


def test_norm_finds_group_normalisation_too() -> None:
    assert len(model("off", "group").personal_names(["norm"])) == 2 * 7


def test_statistics_are_the_norm_without_what_it_learns_by_gradients() -> None:
    made = model()
    parameters = {name for name, _ in made.named_parameters()}
    assert made.personal_names(["statistics"]) == (made.personal_names(["norm"]) - parameters) | SUFFIX
    assert model("off", "group").personal_names(["statistics"]) == set()


def test_several_parts_add_up() -> None:
    made = model()
    assert made.personal_names(["head", "adapter"]) == below(made, "network.head", "adapter")


def test_everything() -> None:
    made = model()
    assert made.personal_names(["everything"]) == set(made.state_dict())


def test_the_suffix_is_personal_even_if_nothing_is_asked_for() -> None:
    assert model().personal_names([]) == SUFFIX
    assert model("off").personal_names([]) == set()


def test_a_part_of_which_nothing_is_learned_has_nothing_to_keep() -> None:
    made = model()
    made.network.backbone.requires_grad_(False)
    kept = {name for name, buffer in made.network.backbone.named_buffers(prefix="network.backbone")}
    assert made.personal_names(["backbone"]) == kept | SUFFIX
    made.network.head.requires_grad_(False)
    assert made.personal_names(["head"]) == SUFFIX
    assert made.personal_names(["network.head.weight", "adapter"]) == below(made, "adapter")
    assert made.personal_names(["everything"]) == kept | below(made, "adapter")
    with pytest.raises(ExperimentError, match="No part of the network is called 'heads'"):
        made.personal_names(["heads"])
    fixed = small_arm("fedavg", adapter={"use": "on", "keys": "fixed"}).runtime.model
    assert fixed.personal_names(["adapter.keys"]) == SUFFIX


@pytest.mark.parametrize("part", ["heads", "head.", "hea", "tokenizer.norms", ""])
def test_unknown_part(part: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        model().personal_names(["head", part])
    message = str(caught.value)
    assert f"No part of the network is called {part!r}" in message
    for known in ("backbone", "head", "adapter", "norm", "everything", "tokenizer"):
        assert known in message


def test_a_bare_network_has_no_adapter_to_keep() -> None:
    with pytest.raises(ExperimentError, match="called 'adapter'") as caught:
        model("off").personal_names(["adapter"])
    assert "Parts are backbone, everything, head, network, norm" in str(caught.value)


def test_all_networks_start_alike_whether_they_have_an_adapter_or_not() -> None:
    bare, with_adapter = model("off"), model("on")
    assert same(bare.network.state_dict(), with_adapter.network.state_dict())


def test_a_bare_network_decodes_its_tokens_as_they_are() -> None:
    made = model("off").eval()
    tokens, context = made.network.encode(BATCH)
    out = made(BATCH)
    assert out.adapter is None
    assert torch.equal(out.prediction, made.network.decode(tokens, context, BATCH))


def test_the_head_reads_what_the_adapter_makes_of_the_tokens() -> None:
    made = model().eval()
    tokens, context = made.network.encode(BATCH)
    with torch.no_grad():
        for parameter in made.adapter.parameters():
            parameter.add_(0.1)
        out = made(BATCH)
        assert torch.equal(out.prediction, made.network.decode(out.adapter.tokens, context, BATCH))
        assert not torch.allclose(out.prediction, made.network.decode(tokens, context, BATCH))


def test_the_extra_loss_is_the_alignment_of_an_adapter_with_a_bank() -> None:
    made = model()
    assert model("off")(BATCH).extra_loss is None
    made.adapter.use_bank(torch.eye(8)[:5])
    out = made(BATCH)
    assert out.extra_loss is out.adapter.alignment
    assert out.extra_loss.item() > 0
    made.reset()
    assert len(made.adapter.bank) == 0
    model("off").reset()


class Shifting(AuxiliaryModule):
    """Adds what it has learned to every token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.by


@pytest.mark.parametrize("adapter", ["on", "off"])
def test_features_are_the_tokens_after_the_adapter(adapter: str) -> None:
    made = model(adapter).eval()
    with torch.no_grad():
        out = made(BATCH)
        features, context, seen = made.encode(BATCH)
        tokens, _ = made.network.encode(BATCH)
    assert out.features.shape == (6, 4, 32)
    assert torch.equal(out.features, features)
    assert torch.equal(out.prediction, made.network.decode(features, context, BATCH))
    if adapter == "off":
        assert seen is None
        assert torch.equal(features, tokens)
    else:
        assert torch.equal(features, seen.tokens)
        assert torch.equal(out.adapter.keys, seen.keys)


def test_a_companion_stands_between_the_features_and_the_decoder() -> None:
    bare = model().eval()
    made = FederatedModel(bare.network, bare.adapter, Shifting(32)).eval()
    with torch.no_grad():
        one, out = bare(BATCH), made(BATCH)
        expected = made.network.decode(out.features + 1, None, BATCH)
    # The features are those before it.
    assert torch.equal(out.features, one.features)
    assert torch.equal(out.prediction, expected)
    assert not torch.equal(out.prediction, one.prediction)
    assert torch.equal(made.encode(BATCH)[0], out.features)


def test_a_companion_that_is_not_asked_changes_nothing() -> None:
    bare = model("off").eval()
    made = FederatedModel(bare.network, None, AuxiliaryModule()).eval()
    assert torch.equal(made(BATCH).prediction, bare(BATCH).prediction)
    assert made.state_dict().keys() == bare.state_dict().keys()


def test_a_companion_is_trained_and_may_be_personal() -> None:
    bare = model("off")
    made = FederatedModel(bare.network, None, Shifting(32))
    assert made.state_dict().keys() - bare.state_dict().keys() == {"companion.by"}
    assert made.personal_names(["companion"]) == {"companion.by"}
    made(BATCH).prediction[BATCH["allowed"]].sum().backward()
    assert made.companion.by.grad.any()
    with pytest.raises(ExperimentError, match="Parts are backbone, everything, head, network, norm"):
        bare.personal_names(["companion"])


@pytest.mark.parametrize("algorithm", ["moon", "gpfl"])
def test_a_companion_is_drawn_last(algorithm: str) -> None:
    bare, with_companion = (small_arm(a, adapter={"use": "on"}).runtime.initial for a in ("fedavg", algorithm))
    own = with_companion.keys() - bare.keys()
    assert own
    assert all(name.startswith("companion.") for name in own)
    assert same({name: with_companion[name] for name in bare}, bare)


def test_the_norm_of_a_companion_is_none_of_the_backbones() -> None:
    arm = small_arm("gpfl", classification={"norm": "batch-personal"})
    assert any("scale.2" in name for name in arm.runtime.initial)
    assert not any(name.startswith("companion.") for name in arm.runtime.personal)


def test_statistics_of_the_backbone_alone_are_measured_without_the_rest() -> None:
    made = model()
    assert made.measured == made.network.encode
    names = made.sources_of_statistics
    assert set(names) == below(made, "network.backbone") - SUFFIX
    with_more = FederatedModel(made.network, None, NormAuxiliary(32))
    assert with_more.measured is with_more
    assert with_more.sources_of_statistics == list(with_more.state_dict())


class NormAuxiliary(AuxiliaryModule):
    """Has running statistics behind the backbone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
