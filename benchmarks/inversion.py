"""Pictures of patients' images out of what leaves a hospital: ``python benchmarks/inversion.py``.

    python benchmarks/inversion.py [--data phantom] [--data pneumonia] [--root DATA] [--seeds 3] [--first-seed 0]
        [--only spectra ...] [--size 32] [--patients 40] [--known 1000] [--candidates 100] [--tries 6] [--steps 200]
        [--epochs 60] [--cache FOLDER] [--draw PICTURE] [--json FILE]

The attacker is the server. It has images of its own of the same kind, and what one hospital sends:

- *spectra*: the whole amplitude spectrum of an image, its low-pass part and its key, none of which leaves by itself,
  made to pictures by zero phase, by retrieval of phases, and by decoders;
- *prototypes* as they leave by default, by a decoder;
- *gradients*: the change of weights after one step on 1, 4 or 16 patients, and after an epoch on 40, by optimisation,
  with and without privacy at epsilon 8;
- *chosen*: the same after an epoch on 40, of weights that the server chose so that the change holds images.

Told is how like the patient's image a picture is: correlation, PSNR (dB) and SSIM; how often it is more like it than
like all other candidates, who are in nobody's hands; and how often the correlation is above 0.95; with the standard
error over images. Chance is what the mean of the attacker's images gives.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from inverting.attempts import Attempt, of_chosen_weights, of_gradients, of_nothing, of_prototypes, of_spectra
from inverting.likeness import Likeness, likeness
from inverting.material import Draw, Material, Sizes
from inverting.sheet import draw_sheet
from reidentification import SOURCES

from omnifm.utils.seeding import generator

ATTACKS = ("spectra", "prototypes", "gradients", "chosen")


def attempts(material: Material, draw: Draw, seed: int, given: argparse.Namespace) -> Iterator[Attempt]:
    """Yield all attempts on one draw; optimisation, which takes minutes, with the first seed only."""
    yield from of_nothing(material, draw)
    if "spectra" in given.only:
        yield from of_spectra(material, draw, given.epochs, seed)
    if "prototypes" in given.only:
        yield from of_prototypes(material, draw, given.epochs, seed)
    if "gradients" in given.only and seed == 0:
        sizes = [size for size in (1, 4, 16, given.patients) if size <= given.patients]
        tried = [
            *((size, 0.0, False) for size in sizes),
            (1, 0.0, True),
            *((size, given.epsilon, False) for size in sizes[:3:2]),
        ]
        for together, epsilon, pixels in tried:
            groups = draw.attacked.split(together)[: max(1, given.tries // together)]
            yield of_gradients(material, draw, groups, epsilon, pixels, given.steps)
    if "chosen" in given.only:
        for algorithm, width in (("omnifm", 24), ("fedavg", 24), ("fedavg", 64)):
            yield of_chosen_weights(material, draw, algorithm, width, 0.0)
        yield of_chosen_weights(material, draw, "fedavg", 24, given.epsilon)


def lines_of(data: str, found: dict[str, list[Likeness]]) -> Iterator[dict[str, Any]]:
    """Yield a line an attempt: means over images, and their standard errors."""
    for name, each in found.items():
        line: dict[str, Any] = {"data": data, "what": name}
        for measure in Likeness._fields:
            values = torch.cat([getattr(one, measure) for one in each])
            line |= {measure: float(values.mean()), f"{measure}_error": float(values.std()) / len(values) ** 0.5}
        yield {**line, "images": len(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", choices=SOURCES)
    parser.add_argument("--root", default="data", help="folder of the sets that are not the phantom")
    parser.add_argument("--only", action="append", choices=ATTACKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=32, help="of an image, in pixels a side, 25 to 32")
    parser.add_argument("--patients", type=int, default=40, help="under attack; 12 or more, or there is no prototype")
    parser.add_argument("--known", type=int, default=1000, help="images that the attacker has")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--tries", type=int, default=6, help="patients whose gradients are inverted in small groups")
    parser.add_argument("--steps", type=int, default=200, help="of each optimisation")
    parser.add_argument("--epochs", type=int, default=60, help="of each decoder's training")
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--cache", default="", help="folder for prepared images")
    parser.add_argument("--draw", type=Path, help="a PNG of the first set's pictures; choose one that may be shown")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    given.only = given.only or list(ATTACKS)
    torch.set_num_threads(1)
    lines: list[dict[str, Any]] = []
    for number, data in enumerate(given.data or ["phantom"]):
        sizes = Sizes(given.size, given.patients, given.known, given.candidates)
        material = Material(data, given.root, given.cache, sizes)
        found: dict[str, list[Likeness]] = {}
        shown: list[Attempt] = []
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            draw = Draw.of(material, generator(seed, "inversion"))
            for one in attempts(material, draw, seed, given):
                found.setdefault(one.name, []).append(likeness(one.pictures, one.images, material.images[draw.others]))
                print(data, seed, one.name, *(f"{float(part.mean()):.3f}" for part in found[one.name][-1]), flush=True)
                shown += [one] if seed == given.first_seed else []
                if given.json:  # after each, since all of them take long
                    given.json.write_text(json.dumps([*lines, *lines_of(data, found)], indent=1))
        lines += lines_of(data, found)
        if given.draw and number == 0:
            draw_sheet(shown, given.draw)
    for line in lines:
        values = (f"{line[part]:.2f} ± {line[f'{part}_error']:.2f}" for part in Likeness._fields)
        print(f"| {line['data']} | {line['what']} | {line['images']} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
