"""MONAI's ResNet-18 without its classifier: the backbone of the paper's classification experiments."""

from __future__ import annotations

from torch import Tensor, nn

from omnifm.networks.normalisation import Normalisation, normalisation


class ResNet18Encoder(nn.Module):
    """ResNet-18 (He et al., 2016): ``(batch, channels, h, w)`` to ``(batch, 512, h / 16, w / 16)``.

    MONAI's first convolution has stride 1, not 2, which suits small images.
    """

    width = 512

    def __init__(self, channels: int, norm: Normalisation) -> None:
        super().__init__()
        from monai.networks.nets.resnet import resnet18  # takes a second to import

        self.net = resnet18(spatial_dims=2, n_input_channels=channels, feed_forward=False, shortcut_type="B")
        # MONAI's own ``norm`` reaches the stem alone, not the blocks.
        for name, module in list(self.net.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                parent, _, last = name.rpartition(".")
                setattr(self.net.get_submodule(parent), last, normalisation(norm, module.num_features))

    def forward(self, image: Tensor) -> Tensor:
        """Return the last feature map."""
        net = self.net
        x = net.act(net.bn1(net.conv1(image)))
        x = net.maxpool(x)
        features: Tensor = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return features
