from __future__ import annotations

import pytest
import torch
from helpers import made_cohort, same, small_arm

from omnifm.errors import ExperimentError
from omnifm.pipeline import Pipeline

BATCH = made_cohort().clients[0].train.batch(torch.arange(6))


def pipeline(adapter: str = "on", norm: str = "batch") -> Pipeline:
    return small_arm("fedavg", adapter={"use": adapter}, classification={"norm": norm}).site.pipeline


def below(made: Pipeline, *places: str) -> set[str]:
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
    made = pipeline()
    expected = {name for name in made.state_dict() if name == place or name.startswith(f"{place}.")}
    assert expected
    assert made.personal_names([part]) == expected | SUFFIX


def test_norm_is_the_normalisation_of_the_backbone_with_its_statistics() -> None:
    made = pipeline()
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
    assert len(pipeline("off", "group").personal_names(["norm"])) == 2 * 7


def test_several_parts_add_up() -> None:
    made = pipeline()
    assert made.personal_names(["head", "adapter"]) == below(made, "network.head", "adapter")


def test_everything() -> None:
    made = pipeline()
    assert made.personal_names(["everything"]) == set(made.state_dict())


def test_the_suffix_is_personal_even_if_nothing_is_asked_for() -> None:
    assert pipeline().personal_names([]) == SUFFIX
    assert pipeline("off").personal_names([]) == set()


@pytest.mark.parametrize("part", ["heads", "head.", "hea", "tokenizer.norms", ""])
def test_unknown_part(part: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        pipeline().personal_names(["head", part])
    message = str(caught.value)
    assert f"No part of the network is called {part!r}" in message
    for known in ("backbone", "head", "adapter", "norm", "everything", "tokenizer"):
        assert known in message


def test_a_bare_network_has_no_adapter_to_keep() -> None:
    with pytest.raises(ExperimentError, match="'adapter', so it cannot be personal") as caught:
        pipeline("off").personal_names(["adapter"])
    assert "Parts are backbone, everything, head, network, norm" in str(caught.value)


def test_all_networks_start_alike_whether_they_have_an_adapter_or_not() -> None:
    bare, with_adapter = pipeline("off"), pipeline("on")
    assert same(bare.network.state_dict(), with_adapter.network.state_dict())


def test_a_bare_network_decodes_its_tokens_as_they_are() -> None:
    made = pipeline("off").eval()
    tokens, context = made.network.encode(BATCH)
    out = made(BATCH)
    assert out.adapter is None
    assert torch.equal(out.prediction, made.network.decode(tokens, context, BATCH))


def test_the_head_reads_what_the_adapter_makes_of_the_tokens() -> None:
    made = pipeline().eval()
    tokens, context = made.network.encode(BATCH)
    with torch.no_grad():
        for parameter in made.adapter.parameters():
            parameter.add_(0.1)
        out = made(BATCH)
        assert torch.equal(out.prediction, made.network.decode(out.adapter.tokens, context, BATCH))
        assert not torch.allclose(out.prediction, made.network.decode(tokens, context, BATCH))
