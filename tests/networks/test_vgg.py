from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from omnifm.networks.vgg import VGG16Features, load_vgg16
from omnifm.utils.errors import ExperimentError

# torchvision's names and the published widths of VGG-16's convolutions.
PUBLISHED = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
    17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor]]:
    """A file as torchvision's weights would be, but with random values."""
    draw = torch.Generator().manual_seed(0)
    made = {"classifier.0.weight": torch.zeros(2, 2)}
    for place, (outputs, inputs) in PUBLISHED.items():
        made[f"features.{place}.weight"] = 0.05 * torch.randn(outputs, inputs, 3, 3, generator=draw)
        made[f"features.{place}.bias"] = 0.1 * torch.randn(outputs, generator=draw)
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    save_file(made, path)
    return path, made


def test_the_last_map_of_each_stage(weights: tuple[Path, dict[str, Tensor]]) -> None:
    path, tensors = weights
    network = load_vgg16(path)
    image = torch.rand(2, 1, 32, 20)
    found = network(image)
    assert [tuple(level.shape[1:]) for level in found] == [
        (64, 32, 20),
        (128, 16, 10),
        (256, 8, 5),
        (512, 4, 3),
        (512, 2, 2),
    ]
    conv = torch.nn.functional.conv2d
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    made = (image - mean) / deviation
    for place in (0, 2):
        made = conv(made, tensors[f"features.{place}.weight"], tensors[f"features.{place}.bias"], padding=1).relu()
    torch.testing.assert_close(found[0], made, rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_names_are_torchvisions() -> None:
    names = {name: tuple(value.shape) for name, value in VGG16Features().state_dict().items()}
    assert {name: shape for name, shape in names.items() if name.endswith("weight")} == {
        f"features.{place}.weight": (*shape, 3, 3) for place, shape in PUBLISHED.items()
    }


def test_weights_that_do_not_fit(weights: tuple[Path, dict[str, Tensor]], tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"nowhere\.safetensors cannot be read .*Save torchvision's vgg16"):
        load_vgg16(tmp_path / "nowhere.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(ExperimentError, match=r"broken\.safetensors cannot be read"):
        load_vgg16(tmp_path / "broken.safetensors")
    few = {name: value for name, value in weights[1].items() if name == "features.0.weight"}
    save_file(few, tmp_path / "few.safetensors")
    with pytest.raises(ExperimentError, match=r"few\.safetensors lack 'features\.0\.bias'"):
        load_vgg16(tmp_path / "few.safetensors")
    save_file({"features.0.weight": torch.zeros(1, 3, 3, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ExperimentError, match=r"'features\.0\.weight' is \(1, 3, 3, 3\), not \(64, 3, 3, 3\)"):
        load_vgg16(tmp_path / "other.safetensors")
