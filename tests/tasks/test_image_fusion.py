from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from omnifm.data.colour import to_luminance_and_chroma
from omnifm.data.subset import Batch, Subset
from omnifm.metrics.edges import edge_transfer, spatial_frequency
from omnifm.metrics.information import entropy, mutual_information, visual_information_fidelity
from omnifm.networks.source_weights import pyramid, source_weights
from omnifm.networks.vgg import VGG16Features
from omnifm.spectral.adapter import AdapterSettings, SpectralAdapter
from omnifm.tasks.image_fusion import ImageFusion, ImageFusionSettings
from omnifm.tasks.task import DataShape, Scores
from omnifm.training.model import FederatedModel
from omnifm.utils.errors import DataError, ExperimentError

SHAPE = DataShape(2, (48, 48))


def task(shape: DataShape = SHAPE, **settings: Any) -> ImageFusion:
    return ImageFusion(ImageFusionSettings(**{"width": 8, "layers": 2, **settings}), shape)


def batch(rows: int = 3, side: int = 48) -> Batch:
    draw = torch.Generator().manual_seed(0)
    smooth = torch.rand(rows, 2, 6, 6, generator=draw)
    image = torch.nn.functional.interpolate(smooth, (side, side), mode="bilinear", align_corners=False)
    return {"image": image, "chroma": 0.2 * torch.rand(rows, 2, side, side, generator=draw) - 0.1}


def fuse(made: ImageFusion, given: Batch) -> Tensor:
    network = made.network().eval()
    tokens, context = network.encode(given)
    return network.decode(tokens, context, given)


def test_tokens_and_the_fused_image() -> None:
    network, given = task().network(), batch()
    tokens, context = network.encode(given)
    assert tokens.shape == (3, 24 * 24, network.width)
    torch.testing.assert_close(tokens[:, 25], context.coarse[:, :, 1, 1])
    assert network.decode(tokens, context, given).shape == (3, 1, 48, 48)


def test_the_decoder_reads_the_tokens() -> None:
    torch.manual_seed(0)
    network, given = task().network(), batch()
    head: Any = network.head
    torch.nn.init.normal_(head.out.weight)
    tokens, context = network.encode(given)
    one, other = (network.decode(tokens + shift, context, given) for shift in (0, torch.randn(tokens.shape)))
    assert (one - other).abs().max() > 0.01


def by_hand(given: Batch, fused: Tensor, settings: ImageFusionSettings) -> float:
    """The loss in numpy, window by window, by the weights that the network's file makes."""
    weights = source_weights(given["image"], pyramid, settings.sharpness, 11).numpy()
    total = 0.0
    for row in range(len(fused)):
        f = fused[row, 0].detach().double().numpy()
        for source in range(2):
            s = given["image"][row, source].double().numpy()
            _, likeness = structural_similarity(
                s, f, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
            )
            inner = (slice(5, -5), slice(5, -5))
            terms = settings.structure * (1 - likeness[inner]) + settings.intensity * (f - s)[inner] ** 2
            total += float((weights[row, source] * terms).mean())
        slopes = [np.stack(slope(image)) for image in (f, *given["image"][row].double().numpy())]
        steeper = np.where((slopes[1] ** 2).sum(0) >= (slopes[2] ** 2).sum(0), slopes[1], slopes[2])
        total += settings.gradient * float(np.abs(slopes[0] - steeper).sum(0).mean())
    return total / len(fused)


def slope(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sobel's derivatives, in grey values a pixel."""
    down = (image[2:] - image[:-2]) / 2
    across = (image[:, 2:] - image[:, :-2]) / 2
    smooth_down = (down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4
    return (across[:-2] + 2 * across[1:-1] + across[2:]) / 4, smooth_down


@pytest.mark.parametrize(
    "weights",
    [
        {"structure": 1.0, "intensity": 0.0, "gradient": 0.0},
        {"structure": 0.0, "intensity": 1.0, "gradient": 0.0, "sharpness": 1.0},
        {"structure": 0.0, "intensity": 0.0, "gradient": 1.0},
        {"structure": 0.5, "intensity": 2.0, "gradient": 3.0},
    ],
)
def test_the_loss_by_hand(weights: Any) -> None:
    made, given = task(**weights), batch()
    fused = given["image"].mean(dim=1, keepdim=True) ** 2
    assert made.loss(fused, given).item() == pytest.approx(by_hand(given, fused, made.settings), rel=2e-3)


def test_equal_sources_are_fused_without_loss() -> None:
    given = batch()
    same = {"image": given["image"][:, :1].expand(-1, 2, -1, -1)}
    assert task().loss(same["image"][:, :1], same).item() == pytest.approx(0.0, abs=1e-5)


def test_it_learns() -> None:
    torch.manual_seed(0)
    made, given = task(gradient=0.0), batch()
    network = made.network()
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    losses = []
    for _ in range(25):
        tokens, context = network.encode(given)
        loss = made.loss(network.decode(tokens, context, given), given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.85 * losses[0]


def test_it_goes_through_the_adapter() -> None:
    torch.manual_seed(0)
    made, given = task(), batch()
    network = made.network()
    model = FederatedModel(network, SpectralAdapter(AdapterSettings(), 2, 2, network.width))
    made.loss(model(given).prediction, given).backward()
    assert model.personal_names(["backbone"]) & {"network.backbone.fine.weight"}


def scored(fused: Tensor, given: Batch, pieces: int = 1) -> Scores:
    metric = task().metric(Subset({}, ()))
    for rows in torch.arange(len(fused)).split(-(-len(fused) // pieces)):
        metric.update(fused[rows], {name: value[rows] for name, value in given.items()})
    return metric.compute()


def test_scores_and_their_conventions() -> None:
    given = batch()
    a, b = given["image"].split(1, dim=1)
    fused = (0.7 * a + 0.3 * b).clamp(0, 1)
    numbers = scored(fused, given).numbers
    vif = visual_information_fidelity
    assert numbers["vif"] == pytest.approx(((vif(fused, a) + vif(fused, b)) / 2).mean().item())
    assert numbers["qabf"] == pytest.approx(edge_transfer(fused, a, b).mean().item())
    both = mutual_information(fused, a) + mutual_information(fused, b)
    assert numbers["mutual_information"] == pytest.approx(both.mean().item())
    assert numbers["entropy"] == pytest.approx(entropy(fused).mean().item())
    assert numbers["spatial_frequency"] == pytest.approx(spatial_frequency(fused).mean().item())
    assert numbers["ssim"] < 1
    average, largest = (a + b) / 2, torch.maximum(a, b)
    for name, rule in (("average", average), ("maximum", largest)):
        own = scored(rule, given).numbers
        assert numbers[f"vif_{name}"] == pytest.approx(own["vif"])
        assert numbers[f"qabf_{name}"] == pytest.approx(own["qabf"])


def test_batches_do_not_matter() -> None:
    given = batch(5)
    fused = given["image"].amax(dim=1, keepdim=True)
    assert scored(fused, given).numbers == pytest.approx(scored(fused, given, pieces=3).numbers, rel=1e-5)


def test_panels_put_the_colour_back() -> None:
    colour = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    luminance, chroma = to_luminance_and_chroma(colour)
    given = {"image": torch.cat([luminance, torch.rand(1, 1, 48, 48)], dim=1), "chroma": chroma}
    (panel,) = task().visualise(luminance, given)
    assert [picture.title for picture in panel.given] == ["first", "second"]
    assert panel.given[0].pixels.shape == (48, 48, 3)
    np.testing.assert_allclose(panel.given[0].pixels / 255, colour[0].permute(1, 2, 0), atol=1.1 / 255)
    assert panel.given[1].pixels.shape == (48, 48)
    assert panel.found is not None
    np.testing.assert_array_equal(panel.found.pixels, panel.given[0].pixels)
    assert panel.caption.startswith("VIF ")
    assert ", Q 0." in panel.caption


def test_training_cuts_mirrors_and_shifts_both_sources_the_same_way() -> None:
    image = torch.arange(48 * 48.0).view(1, 1, 48, 48).expand(2, 2, -1, -1)
    draw = torch.Generator().manual_seed(0)
    cut = task(patch=20).augment({"image": image, "chroma": image}, draw)
    assert cut.keys() == {"image"}
    assert cut["image"].shape == (2, 2, 20, 20)
    assert torch.equal(cut["image"][:, 0], cut["image"][:, 1])
    assert not torch.equal(cut["image"][0], cut["image"][1])
    assert task(augment=False).augment({"image": image}, draw)["image"] is image


def test_data_that_are_no_pairs_or_too_small() -> None:
    with pytest.raises(DataError, match=r"give 1 channel\(s\) of 2 axes\. Use sources of kind 'image_pairs'"):
        task(DataShape(1, (64, 64)))
    with pytest.raises(DataError, match=r"give 2 channel\(s\) of 3 axes"):
        task(DataShape(2, (64, 64, 64)))
    for side in (1, 10, 40):
        with pytest.raises(DataError, match=rf"data\.size = {side}: .* needs 41 pixels"):
            task(DataShape(2, (side, side)))
    with pytest.raises(DataError, match=r"patch = 64 is larger than data\.size = 48"):
        task(patch=64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 6}, "multiple of 4"),
        ({"layers": 0}, "layers\n.*greater than or equal to 1"),
        ({"gradient": -1.0}, "gradient\n.*greater than or equal to 0"),
        ({"structure": 0.0, "intensity": 0.0, "gradient": 0.0}, "nothing is left to learn from"),
        ({"patch": 10}, "at least 11 pixels"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFusionSettings(**settings)


def test_weights_of_vgg_are_asked_for_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match="VGG-16 weights"):
        task(vgg=str(tmp_path / "none.safetensors"))
    monkeypatch.setattr("omnifm.tasks.image_fusion.load_vgg16", lambda path: VGG16Features())
    given = batch(1)
    fused = given["image"].mean(dim=1, keepdim=True)
    assert task(vgg="x").loss(fused, given).isfinite()
    assert task(vgg="x").loss(fused, given) != task().loss(fused, given)
