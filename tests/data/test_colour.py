import torch
from PIL import Image

from omnifm.data.colour import to_colour, to_luminance_and_chroma


def test_there_and_back() -> None:
    colour = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    luminance, chroma = to_luminance_and_chroma(colour)
    assert luminance.shape == (2, 1, 5, 4)
    assert chroma.abs().max() <= 0.5
    torch.testing.assert_close(to_colour(luminance, chroma), colour)


def test_it_is_pillows_ycbcr() -> None:
    pixels = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (12, 200, 99), (77, 77, 77)]
    colour = (torch.tensor(pixels) / 255).T.reshape(1, 3, 1, 5)
    luminance, chroma = to_luminance_and_chroma(colour)
    found = torch.cat([luminance, chroma + 128 / 255], dim=1)[0, :, 0].T * 255
    image = Image.new("RGB", (5, 1))
    image.putdata(pixels)
    expected = torch.tensor([image.convert("YCbCr").getpixel((x, 0)) for x in range(5)]).float()
    torch.testing.assert_close(found, expected, atol=1.1, rtol=0)


def test_grey_has_no_chroma_and_other_brightness_keeps_the_hue() -> None:
    grey = torch.rand(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    luminance, chroma = to_luminance_and_chroma(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(luminance, grey)
    torch.testing.assert_close(chroma, torch.zeros(1, 2, 3, 3), atol=1e-6, rtol=0)
    assert to_colour(torch.ones(1, 1, 1, 1), torch.full((1, 2, 1, 1), 0.5)).max() == 1.0
