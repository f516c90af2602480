"""The attempts: each is pictures that an attacker has made of something that leaves, and the images behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from inverting.decoders import trained_decoder
from inverting.gradients import Prior, change_of, inverted, with_patients
from inverting.imprint import imprint
from inverting.likeness import correlation
from inverting.material import Draw, Material
from inverting.phases import amplitude_of, best_of, registered, retrieved, zero_phase
from reidentification import keys_of
from torch import Tensor

from omnifm.spectral.prototypes import fixed_prototypes
from omnifm.spectral.spectrum import low_pass_log_amplitude
from omnifm.utils.seeding import generator

MEAN = "the mean of the attacker's own images"
_STARTS, _PROJECTIONS = 4, 200
_HOSPITALS = 60
"""How many hospitals the attacker makes of its own images to learn what prototypes are like."""

_LITTLE, _MUCH = 0.01, 100.0
"""How much a patient moves chosen weights: much where each patient is clipped and noise is added."""


class Attempt(NamedTuple):
    """Pictures of images, both ``(n, 1, h, w)``, row by row; of patients under attack from the first on."""

    name: str
    pictures: Tensor
    images: Tensor


def of_nothing(material: Material, draw: Draw) -> Iterator[Attempt]:
    """What needs nothing from the hospital: the mean image; and other images, as many as chosen weights give."""
    images, mean = material.images[draw.attacked], material.images[draw.known].mean(dim=0)
    yield Attempt(MEAN, mean.expand_as(images), images)
    others = material.images[draw.known[: len(images)]]
    yield Attempt(f"the most alike of {len(images)} of them", _most_alike(others, images), images)


def of_spectra(material: Material, draw: Draw, epochs: int, seed: int) -> Iterator[Attempt]:
    """Pictures from spectra: by phases that are made up or looked for, and by decoders; and from keys."""
    known, images = material.images[draw.known], material.images[draw.attacked]
    mean, support = known.mean(dim=0), known.amax(dim=(0, 1)) > 0.05
    start, chance = mean.expand_as(images), generator(seed, "spectra")
    whole, all_of_it = torch.fft.fft2(images).abs(), torch.ones_like(support)
    yield Attempt("whole amplitude, zero phase", registered(zero_phase(whole), mean), images)
    begun = [torch.rand(images.shape, generator=chance) for _ in range(_STARTS)]
    tried = [retrieved(whole, all_of_it, one, support, _PROJECTIONS) for one in begun]
    yield Attempt("whole amplitude, phases retrieved from random ones", registered(best_of(tried, whole), mean), images)
    found = retrieved(whole, all_of_it, start, support, _PROJECTIONS)
    yield Attempt("whole amplitude, phases retrieved from those of the mean", found, images)
    settings = material.spectral.experiment.adapter
    spectra = [low_pass_log_amplitude(part, settings.rho, settings.grid) for part in (known, images)]
    low, where = amplitude_of(spectra[1], images.shape[2:], settings.rho)
    found = retrieved(low, where, start, support, _PROJECTIONS)
    yield Attempt("low-pass spectrum, phases retrieved from those of the mean", found, images)
    decode = trained_decoder(spectra[0].flatten(1), known, chance, epochs)
    yield Attempt("low-pass spectrum, decoder", decode(spectra[1].flatten(1)), images)
    decode = trained_decoder(keys_of(material.spectral, known), known, chance, epochs)
    yield Attempt("single key, decoder", decode(keys_of(material.spectral, images)), images)


def of_prototypes(material: Material, draw: Draw, epochs: int, seed: int) -> Iterator[Attempt]:
    """Pictures from prototypes as they leave by default, compared with each image behind them."""
    chance = generator(seed, "prototypes")
    made = [_prototypes(material, _hospital(draw, chance)) for _ in range(_HOSPITALS)]
    targets = [_means(material.images[rows], owner, len(found)) for rows, found, owner in made]
    decode = trained_decoder(torch.cat([found for _, found, _ in made]), torch.cat(targets), chance, epochs)
    rows, found, owner = _prototypes(material, draw.attacked)
    yield Attempt("prototype, decoder", decode(found)[owner], material.images[rows])


def _hospital(draw: Draw, chance: torch.Generator) -> Tensor:
    """Return rows of the attacker's images, as many as the hospital has."""
    return draw.known[torch.randperm(len(draw.known), generator=chance)[: len(draw.attacked)]]


def _prototypes(material: Material, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the rows, a hospital's prototypes of their images, and to which each image belongs."""
    arm = material.spectral
    keys = keys_of(arm, material.images[rows])
    found = fixed_prototypes(keys, arm.experiment.bank)[0]
    return rows, found, (keys @ found.T).argmax(dim=1)


def _means(images: Tensor, owner: Tensor, count: int) -> Tensor:
    share = torch.nn.functional.one_hot(owner, count).float()
    return ((share / share.sum(dim=0)).T @ images.flatten(1)).view(count, *images.shape[1:])


def of_gradients(
    material: Material, draw: Draw, groups: Sequence[Tensor], epsilon: float, pixels: bool, steps: int
) -> Attempt:
    """Pictures from the change of honest initial weights after an epoch on each of some groups of patients."""
    arm, known = material.arm("fedavg", epsilon), material.images[draw.known]
    prior = Prior.of_pixels(known.mean(dim=0)) if pixels else Prior.of_images(known)
    pictures, images, chance = [], [], generator(0, "gradients")
    for rows in groups:
        runtime = with_patients(arm, material.client, rows, arm.experiment.training.learning_rate, 32)
        change = change_of(arm, runtime)
        trainer = runtime._trainer(material.client.name, 1)
        trainer.load(arm.start().server.shared)
        batch = trainer.task.setup_client(trainer.client.train).whole()
        images.append(batch.pop("image").float())
        pictures.append(_most_alike(inverted(trainer, batch, change, prior, steps, chance), images[-1]))
    name = f"change of weights by {len(groups[0])}{', over pixels' if pixels else ''}{_with(epsilon)}"
    return Attempt(name, torch.cat(pictures), torch.cat(images))


def of_chosen_weights(material: Material, draw: Draw, algorithm: str, width: int, epsilon: float) -> Attempt:
    """Pictures from the change of weights that the server chose, after one epoch on all patients under attack."""
    arm, strength = material.arm(algorithm, epsilon, width), _MUCH if epsilon else _LITTLE
    sent = imprint(deepcopy(arm.runtime.model), material.images[draw.known], strength)
    runtime = with_patients(arm, material.client, draw.attacked, _LITTLE / strength, 32)
    found, images = sent.pictures(change_of(arm, runtime, sent.weights)), material.images[draw.attacked]
    name = f"change of chosen weights by {len(images)}, {algorithm}, width {width}{_with(epsilon)}"
    return Attempt(name, _most_alike(found, images), images)


def _with(epsilon: float) -> str:
    return f", epsilon {epsilon:g}" if epsilon else ""


def _most_alike(pictures: Tensor, images: Tensor) -> Tensor:
    """Return for each image the picture that is most like it: pictures of several patients have no order."""
    return pictures[correlation(pictures, images).argmax(dim=0)]
