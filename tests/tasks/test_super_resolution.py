from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import made_dataset, small_experiment
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from omnifm.data.bicubic import enlarged, shrunk
from omnifm.data.images import LUMINANCE
from omnifm.data.subset import Batch, Subset
from omnifm.engines.in_process import InProcess
from omnifm.runs.arm import make_arm
from omnifm.spectral.adapter import AdapterSettings, SpectralAdapter
from omnifm.tasks.super_resolution import SuperResolution, SuperResolutionSettings, busiest_window
from omnifm.tasks.task import DataShape, Scores
from omnifm.training.model import FederatedModel
from omnifm.utils.errors import ExperimentError

NOBODY = Subset({}, ())


def task(channels: int = 1, size: int = 32, **settings: Any) -> SuperResolution:
    return SuperResolution(
        SuperResolutionSettings(**{"width": 8, "blocks": 1, **settings}), DataShape(channels, (size, size))
    )


def images(channels: int = 1, size: int = 32, count: int = 3) -> Batch:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 8, 8, generator=draw)
    fine = torch.rand(count, channels, size, size, generator=draw)
    return {"image": (0.7 * F.interpolate(coarse, size=(size, size)) + 0.3 * fine), "label": torch.arange(count)}


def scored(made: SuperResolution, prediction: Tensor, given: Batch, pieces: int = 1) -> Scores:
    metric = made.metric(NOBODY)
    for rows in torch.arange(len(prediction)).chunk(pieces):
        metric.update(prediction[rows], {name: values[rows] for name, values in given.items()})
    return metric.compute()


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_the_network_sees_the_shrunk_image_only(scale: int) -> None:
    made, given = task(scale=scale), images()
    posed = made.prepare_batch(given)
    assert posed["image"].shape == (3, 1, 32 // scale, 32 // scale)
    torch.testing.assert_close(posed["image"], shrunk(given["image"], scale))
    assert torch.equal(posed["target"], given["image"])
    assert posed["label"] is given["label"]
    network = made.network()
    blind = {"image": posed["image"]}
    tokens, context = network.encode(blind)
    assert tokens.shape == (3, (32 // scale) ** 2, 8)
    assert network.decode(tokens, context, blind).shape == (3, 1, 32, 32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("adapted", [False, True])
def test_an_untrained_network_is_plain_bicubic(channels: int, adapted: bool) -> None:
    made = task(channels)
    adapter = SpectralAdapter(AdapterSettings(grid=7), channels, 2, 8) if adapted else None
    given = made.prepare_batch(images(channels))
    prediction = FederatedModel(made.network(), adapter)(given).prediction
    assert torch.equal(prediction, enlarged(given["image"], 2))
    numbers = scored(made, prediction.detach(), given).numbers
    assert numbers["psnr"] == numbers["psnr_bicubic"]
    assert numbers["ssim"] == numbers["ssim_bicubic"]


def test_the_adapter_is_heard() -> None:
    """What the tokens say changes the prediction as soon as the head listens, and every parameter learns."""
    torch.manual_seed(0)
    made = task()
    network = made.network()
    with torch.no_grad():
        for parameter in (*network.head.transform.parameters(), *network.head.last.parameters()):
            parameter.normal_(std=0.1)
    model = FederatedModel(network, SpectralAdapter(AdapterSettings(grid=7), 1, 2, 8))
    given = made.prepare_batch(images())
    made.loss(model(given).prediction, given).backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    assert model.adapter is not None
    assert model.adapter.prompting.out.weight.grad.abs().max() > 0


def test_the_loss_is_the_mean_absolute_error() -> None:
    given = {"target": torch.tensor([[0.0, 1.0], [0.5, 0.5]]).view(1, 1, 2, 2)}
    prediction = torch.tensor([[0.25, 0.5], [0.5, 1.5]]).view(1, 1, 2, 2)
    assert task().loss(prediction, given).item() == pytest.approx((0.25 + 0.5 + 0 + 1) / 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_scores_are_skimages_on_the_luminance(channels: int) -> None:
    made = task(channels, scale=4)
    given = made.prepare_batch(images(channels))
    prediction = given["target"] + 0.3 * torch.randn(given["target"].shape, generator=torch.Generator().manual_seed(1))

    def grey(values: Tensor) -> Any:
        weights = torch.tensor(LUMINANCE if channels == 3 else (1.0,)).view(1, -1, 1, 1)
        return (values * weights).sum(dim=1).double().numpy()

    truth = grey(given["target"])
    plain = F.interpolate(given["image"], scale_factor=4, mode="bicubic", antialias=True).clamp(0, 1)
    expected = {}
    for suffix, shown in (("", prediction.clamp(0, 1)), ("_bicubic", plain)):
        pairs = list(zip(truth, grey(shown), strict=True))
        expected["psnr" + suffix] = np.mean([peak_signal_noise_ratio(t, f, data_range=1) for t, f in pairs])
        expected["ssim" + suffix] = np.mean(
            [
                structural_similarity(t, f, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
                for t, f in pairs
            ]
        )
    assert scored(made, prediction, given).numbers == pytest.approx(expected, abs=1e-3)


def test_batches_do_not_matter() -> None:
    made = task()
    given = made.prepare_batch(images(count=5))
    prediction = given["target"] + 0.1
    one, other = scored(made, prediction, given), scored(made, prediction, given, pieces=3)
    assert one.numbers == pytest.approx(other.numbers)
    assert set(one.numbers) == {"psnr", "ssim", "psnr_bicubic", "ssim_bicubic"}
    assert made.main_metric in one.numbers


def test_augmentation_keeps_every_pixel() -> None:
    made, given = task(), images(count=16)
    changed = made.augment(given, torch.Generator().manual_seed(0))
    values = [batch["image"].flatten(1).sort(dim=1).values for batch in (given, changed)]
    assert torch.equal(*values)
    assert not torch.equal(given["image"], changed["image"])
    assert task(augment=False).augment(given, torch.Generator()) is given


def test_panels_show_the_same_place_in_every_picture() -> None:
    made = task(channels=3)
    image = torch.zeros(2, 3, 32, 32)
    image[:, :, 16:, 16:] = images(3, 16, 2)["image"]  # all that can be lost is in one corner
    given = made.prepare_batch({"image": image})
    plain = enlarged(given["image"], 2)
    panels = made.visualise(torch.where(torch.tensor([True, False]).view(2, 1, 1, 1), image, plain), given)
    assert [picture.title for picture in panels[0].given] == ["low resolution", "bicubic", "truth"]
    pictures = [picture.pixels for picture in panels[0].given] + [panels[0].found.pixels]
    assert {picture.shape for picture in pictures} == {(16, 16, 3)}
    low, bicubic, truth, found = pictures
    np.testing.assert_allclose(truth / 255, image[0, :, 16:, 16:].permute(1, 2, 0), atol=1 / 255)
    np.testing.assert_allclose(bicubic / 255, plain[0, :, 16:, 16:].permute(1, 2, 0), atol=1 / 255)
    assert np.array_equal(found, truth)
    assert np.array_equal(low[::2, ::2], low[1::2, 1::2])
    assert panels[0].caption.startswith("100.00 dB (bicubic ")
    numbers = panels[1].caption.replace(")", "").split()
    assert numbers[0] == numbers[-1]
    assert panels[0].right is None


def test_the_busiest_window_is_on_whole_small_pixels() -> None:
    image = torch.zeros(1, 24, 24)
    image[0, 14:20, 2:8] = torch.rand(6, 6)
    rows, columns = busiest_window(image, 8)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (16, 16)
    assert (rows.start, columns.start) == (8, 0)


@pytest.mark.parametrize(
    ("size", "scale", "message"),
    [
        (30, 4, r"data\.size = 30 is not divisible by super_resolution\.scale = 4\. Set data\.size = 28"),
        (5, 8, r"data\.size = 5 is not divisible by super_resolution\.scale = 8\. Set data\.size = 8"),
        (24, 8, r"data\.size = 24 is too small .* would be 3 pixels wide\. Set data\.size = 32 or more"),
        (10, 2, r"data\.size = 10 is too small .* Set data\.size = 12 or more"),
    ],
)
def test_sizes_that_do_not_fit(size: int, scale: int, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        task(size=size, scale=scale)


def test_images_of_three_axes() -> None:
    with pytest.raises(ExperimentError, match="two axes"):
        SuperResolution(SuperResolutionSettings(), DataShape(1, (16, 16, 16)))


def test_settings_are_checked() -> None:
    for width in (0, 6, -4):
        with pytest.raises(ValueError, match=r"width\n.*(multiple of 4|equal to 4)"):
            SuperResolutionSettings(width=width)
    with pytest.raises(ValueError, match="blocks"):
        SuperResolutionSettings(blocks=0)
    with pytest.raises(ExperimentError, match=r"super_resolution\.scale"):
        small_experiment("fedavg", super_resolution={"scale": 3})


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm", "moon", "ditto"])
def test_it_is_learned_in_a_federation(algorithm: str) -> None:
    experiment = small_experiment(
        algorithm,
        task="super_resolution",
        super_resolution={"width": 8, "blocks": 1},
        training={"optimizer": "adamw", "learning_rate": 0.005, "epochs": 3},
        federation={"rounds": 3, "evaluate_every": 3},
    )
    arm = make_arm(experiment, made_dataset())
    with InProcess(arm.runtime) as engine:
        federation = arm.federation(engine)
        start = arm.start()
        before = federation.evaluate(start.server, "test", "before_local_training")
        after = federation.evaluate(federation.run(start).server, "test", "before_local_training")
    assert before.mean("psnr") == before.mean("psnr_bicubic") == after.mean("psnr_bicubic")
    assert after.mean("psnr") > before.mean("psnr") + 0.2
