"""The parts of the benchmark that makes pictures of patients' images: each on input whose answer is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from inverting.attempts import of_chosen_weights, of_gradients
from inverting.decoders import trained_decoder
from inverting.likeness import likeness
from inverting.material import Draw, Material, Sizes
from inverting.phases import amplitude_of, registered, retrieved, zero_phase
from small_run import played

from omnifm.spectral.spectrum import low_pass_log_amplitude

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "inversion.py"

if sys.platform != "linux":
    pytest.skip("as the other benchmarks", allow_module_level=True)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_likeness_of_a_picture_is_that_with_its_own_image() -> None:
    images, others = noise(3, 1, 16, 16), 1 - noise(2, 1, 16, 16)
    pictures = torch.stack([images[0], 0.5 * images[1], others[0]])
    found = likeness(pictures, images, others)
    torch.testing.assert_close(found.correlation[:2], torch.ones(2))
    assert found.found.tolist() == found.clear.tolist() == [1, 1, 0]
    torch.testing.assert_close(found.psnr[1], -10 * torch.log10((0.5 * images[1]).square().mean()))


def test_low_pass_spectrum_gives_the_amplitudes_back() -> None:
    images = noise(2, 1, 32, 28)
    amplitude, known = amplitude_of(low_pass_log_amplitude(images, 0.25, 15), (32, 28), 0.25)
    assert int(known.sum()) == 9 * 9  # frequencies -4 to 4 of both axes
    torch.testing.assert_close(amplitude[..., known], torch.fft.fft2(images).abs()[..., known], rtol=1e-3, atol=1e-3)
    assert not amplitude[..., ~known].any()


def test_phases_are_found_from_a_near_start() -> None:
    support = torch.zeros(32, 32, dtype=torch.bool)
    support[8:24, 8:24] = True
    images = noise(2, 1, 32, 32) * support
    amplitude, start = torch.fft.fft2(images).abs(), (0.5 * images + 0.25) * support
    found = retrieved(amplitude, torch.ones_like(support), start, support, 300)
    assert (found - images).abs().mean() < 0.01 * (start - images).abs().mean()
    mirrored = zero_phase(amplitude)
    torch.testing.assert_close(mirrored, mirrored.flip(-2, -1).roll((1, 1), dims=(-2, -1)), atol=1e-5, rtol=0)


def test_a_turned_and_shifted_picture_is_put_right() -> None:
    images = noise(2, 1, 8, 8)
    moved = torch.stack([images[0].roll((3, 2), dims=(-2, -1)), images[0].flip(-2, -1).roll((1, 5), dims=(-2, -1))])
    torch.testing.assert_close(registered(moved, images[0]), images[:1].expand(2, 1, 8, 8))


def test_decoder_learns_a_linear_code() -> None:
    images = noise(400, 1, 4, 4)
    codes = images.flatten(1) @ noise(16, 16)
    decode = trained_decoder(codes[:300], images[:300], torch.Generator().manual_seed(0), 60)
    error = (decode(codes[300:]) - images[300:]).square().mean()
    assert error < 0.3 * (images[300:] - images[:300].mean(dim=0)).square().mean()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def material(cache: Path) -> Material:
    return Material("phantom", "", str(cache), Sizes(28, 6, 50, 10))


@pytest.fixture(scope="module")
def draw(material: Material) -> Draw:
    return Draw.of(material, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("algorithm", ["fedavg", "omnifm"])
def test_chosen_weights_bring_images_back(material: Material, draw: Draw, algorithm: str) -> None:
    made = of_chosen_weights(material, draw, algorithm, 24, 0.0)
    found = likeness(made.pictures, made.images, material.images[draw.others])
    assert made.images.equal(material.images[draw.attacked])
    assert int(found.clear.sum()) >= 2  # those that are alone between two thresholds
    assert found.found.mean() > 0.7


def test_noise_hides_images_from_chosen_weights(material: Material, draw: Draw) -> None:
    made = of_chosen_weights(material, draw, "fedavg", 24, 8.0)
    assert likeness(made.pictures, made.images, material.images[draw.others]).correlation.max() < 0.7


def test_gradient_of_one_patient_tells_more_than_the_mean_image(material: Material, draw: Draw) -> None:
    made = of_gradients(material, draw, draw.attacked[:1].split(1), 0.0, False, 40)
    mean = material.images[draw.known].mean(dim=0)[None]
    others = material.images[draw.others]
    found, plain = (likeness(one, made.images, others) for one in (made.pictures, mean))
    assert found.correlation > plain.correlation


def test_benchmark(material: Material, cache: Path, tmp_path: Path) -> None:
    pixels, _, known, candidates = material.sizes
    drawn = ("--size", pixels, "--patients", 12, "--known", known, "--candidates", candidates, "--cache", cache)
    few = ("--only", "spectra", "--only", "prototypes", "--seeds", 1, "--epochs", 2)
    written = ("--json", tmp_path / "found.json", "--draw", tmp_path / "sheet.png")
    outcome = played(BENCHMARK, tmp_path, *drawn, *few, *written)
    assert outcome.status == 0, outcome.text
    lines = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert {"low-pass spectrum, decoder", "single key, decoder", "prototype, decoder"} < {one["what"] for one in lines}
    assert all(-1 <= line["correlation"] <= 1 and 0 <= line["found"] <= 1 for line in lines)
    assert (tmp_path / "sheet.png").stat().st_size > 1000
