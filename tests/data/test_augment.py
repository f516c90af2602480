import torch

from omnifm.data.augment import flip_and_shift


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_image_is_some_flip_and_shift_of_itself() -> None:
    images = torch.rand(12, 2, 9, 16)
    moved = flip_and_shift(images, draw(), reach=1 / 4)
    assert moved.shape == images.shape
    seen = set()
    for before, after in zip(images, moved, strict=True):
        candidates = {}
        for flip in (False, True):
            for dy in range(-2, 3):
                for dx in range(-4, 5):
                    rows = [min(max(r + dy, 0), 8) for r in range(9)]
                    columns = [min(max(c + dx, 0), 15) for c in range(16)]
                    columns = columns[::-1] if flip else columns
                    candidates[flip, dy, dx] = before[:, rows][:, :, columns]
        matches = [key for key, image in candidates.items() if torch.equal(image, after)]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len({flip for flip, _, _ in seen}) == 2
    assert len(seen) > 8


def test_without_reach_only_mirrors() -> None:
    images = torch.rand(8, 1, 4, 4)
    moved = flip_and_shift(images, draw(), reach=0)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(moved, images, strict=True))


def test_same_draw_same_bits() -> None:
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(flip_and_shift(images, draw(3)), flip_and_shift(images, draw(3)))
    assert not torch.equal(flip_and_shift(images, draw(3)), flip_and_shift(images, draw(4)))
