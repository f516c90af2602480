import torch

from omnifm.data.augment import crop, flip_and_shift, turn_and_mirror


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moved_images(images: torch.Tensor, source: torch.Generator, reach: float = 1 / 16) -> torch.Tensor:
    return flip_and_shift({"image": images}, source, reach)["image"]


def test_each_image_is_some_flip_and_shift_of_itself() -> None:
    images = torch.rand(12, 2, 9, 16)
    moved = moved_images(images, draw(), reach=1 / 4)
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
    moved = moved_images(images, draw(), reach=0)
    assert all(torch.equal(a, b) or torch.equal(a, b.flip(2)) for a, b in zip(moved, images, strict=True))


def test_same_draw_same_bits() -> None:
    images = torch.rand(5, 1, 8, 8)
    assert torch.equal(moved_images(images, draw(3)), moved_images(images, draw(3)))
    assert not torch.equal(moved_images(images, draw(3)), moved_images(images, draw(4)))


def test_image_and_mask_go_the_same_way() -> None:
    image = torch.rand(6, 1, 10, 12)
    moved = flip_and_shift({"image": image, "mask": (image > 0.5).byte().repeat(1, 3, 1, 1)}, draw())
    assert torch.equal(moved["mask"], (moved["image"] > 0.5).byte().expand(-1, 3, -1, -1))
    assert moved["mask"].dtype == torch.uint8


def test_volumes_move_along_all_three_axes_and_are_mirrored_along_the_last() -> None:
    volume = torch.arange(8 * 8 * 8.0).view(1, 1, 8, 8, 8).expand(40, -1, -1, -1, -1)
    moved = moved_images(volume, draw(), reach=1 / 8)
    z, y, x = moved[:, 0, 4, 4, 4] // 64, moved[:, 0, 4, 4, 4] // 8 % 8, moved[:, 0, 4, 4, 4] % 8
    assert z.unique().tolist() == y.unique().tolist() == [3, 4, 5]
    assert x.unique().tolist() == [2, 3, 4, 5]


def test_turns_and_mirrors_are_the_symmetries_of_a_square() -> None:
    images = torch.rand(64, 2, 5, 5)
    turned = turn_and_mirror({"image": images, "mask": images[:, :1] > 0.5}, draw())
    seen = set()
    for before, after in zip(images, turned["image"], strict=True):
        shapes = {
            (turn, flip): torch.rot90(before.flip(2) if flip else before, turn, (1, 2))
            for turn in range(4)
            for flip in (False, True)
        }
        (key,) = (key for key, shape in shapes.items() if torch.equal(shape, after))
        seen.add(key)
    assert len(seen) == 8
    assert torch.equal(turned["mask"], turned["image"][:, :1] > 0.5)
    assert torch.equal(turn_and_mirror({"image": images}, draw())["image"], turned["image"])


def test_crops_lie_anywhere_and_alike_in_all_fields() -> None:
    image = torch.arange(7 * 9.0).view(1, 1, 7, 9).expand(200, 1, 7, 9)
    cut = crop({"image": image, "mask": -image}, torch.Generator().manual_seed(0), 5)
    assert cut["image"].shape == (200, 1, 5, 5)
    assert torch.equal(cut["image"], -cut["mask"])
    corners = {(int(first) // 9, int(first) % 9) for first in cut["image"][:, 0, 0, 0]}
    assert corners == {(top, left) for top in range(3) for left in range(5)}
    for square in cut["image"][:9, 0]:
        first = square - square[0, 0]
        assert torch.equal(first, image[0, 0, :5, :5])
