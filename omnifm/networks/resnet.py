"""MONAI's ResNet-18 without its classifier: the backbone of the paper's classification experiments."""

from __future__ import annotations

from torch import Tensor, nn

from omnifm.networks.normalisation import GROUPS, Normalisation


class ResNet18Encoder(nn.Module):
    """ResNet-18 (He et al., 2016): ``(batch, channels, h, w)`` to ``(batch, 512, h / 32, w / 32)``."""

    width = 512

    def __init__(self, channels: int, norm: Normalisation) -> None:
        super().__init__()
        from monai.networks.nets.resnet import resnet18  # takes a second to import

        layer = ("group", {"num_groups": GROUPS}) if norm == "group" else "batch"
        self.net = resnet18(
            spatial_dims=2, n_input_channels=channels, feed_forward=False, norm=layer, shortcut_type="B"
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the last feature map."""
        net = self.net
        x = net.act(net.bn1(net.conv1(image)))
        x = net.maxpool(x)
        features: Tensor = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return features
