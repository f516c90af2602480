"""The data of the hospitals: a table, and a picture with sample images and counts of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, TypedDict

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from omnifm.data.images import pixels
from omnifm.data.modality_profiles import ModalityProfile
from omnifm.data.subset import ClientData, Subset
from omnifm.utils.fonts import all_scripts

SAMPLES = 6
MOST_CLIENTS = 16
MOST_CLASSES = 8
GREY = "#555555"
_NOTE: dict[str, Any] = {"fontsize": 8, "color": GREY, "va": "top"}
CLIENT_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e")


class ClientRow(TypedDict):
    """One line of the table: samples of each split, patients of all, training samples of each class."""

    client: str
    group: str
    train: int
    validation: int
    test: int
    patients: int
    labels: dict[str, int]


def describe(clients: Sequence[ClientData], label_names: Sequence[str]) -> list[ClientRow]:
    """Return a line for each client; ``labels`` holds only the classes that occur in its training data."""
    return [
        ClientRow(
            client=client.name,
            group=client.group,
            train=len(client.train),
            validation=len(client.validation),
            test=len(client.test),
            patients=len({*client.train.patients, *client.validation.patients, *client.test.patients}),
            labels=_label_counts(client.train, label_names) if label_names else {},
        )
        for client in clients
    ]


def label_text(row: ClientRow) -> str:
    """Return the training samples of each class, without the set that a class is named with."""
    return ", ".join(f"{name.rsplit('/', 1)[-1]} {count}" for name, count in row["labels"].items())


def picture(
    clients: Sequence[ClientData],
    label_names: Sequence[str],
    path: Path,
    profiles: Sequence[ModalityProfile] = (),
    low_pass: float = 0.25,
) -> None:
    """Write a PNG with a row for each (of the first) clients: training images and counts of classes.

    Args:
        clients: those of a data set.
        label_names: its classes or regions; none where it has none.
        path: of the picture.
        profiles: of the modalities, drawn below the clients: how bright their images are, and their spectra.
        low_pass: the fraction of the spectrum that the adapter reads, marked in the spectra.
    """
    with all_scripts():
        _draw(clients, label_names, path, profiles, low_pass)


def _draw(
    clients: Sequence[ClientData],
    label_names: Sequence[str],
    path: Path,
    profiles: Sequence[ModalityProfile],
    low_pass: float,
) -> None:
    shown = clients[:MOST_CLIENTS]
    groups = sorted({client.group for client in clients})
    # Made without pyplot, so that neither a display nor global state is needed.
    heights = [1.95] * len(shown) + [0.3] + [3.2] * bool(profiles)
    figure = Figure(figsize=(13, sum(heights)), dpi=120, facecolor="white")
    bands = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)
    for band, client, row in zip(bands[:, 0], shown, describe(shown, label_names), strict=False):
        colour = CLIENT_COLOURS[groups.index(client.group) % len(CLIENT_COLOURS)]
        name = client.name if client.name == client.group else f"{client.name} ({client.group})"
        sizes = f"{row['train']} for training, {row['validation']} for validation, {row['test']} for test"
        band.text(0.01, 0.9, name, fontsize=12, fontweight="bold", color=colour)
        band.text(0.99, 0.9, f"{sizes}; {row['patients']} patients", fontsize=9, color=GREY, ha="right")
        # The column before the last stays empty: it is the room for the names of the bars.
        axes = band.subplots(1, SAMPLES + 2, width_ratios=[1] * SAMPLES + [1.2, 2])
        band.subplots_adjust(left=0.01, right=0.97, top=0.79, bottom=0.02, wspace=0.06)
        axes[-2].set_axis_off()
        _draw_samples(axes[:-2], client, label_names)
        _draw_counts(axes[-1], row["labels"], colour)
    if len(clients) > len(shown):
        bands[len(shown), 0].text(0.01, 0.3, f"and {len(clients) - len(shown)} more clients", color=GREY)
    if profiles:
        _draw_profiles(bands[-1, 0], profiles, low_pass)
    figure.savefig(path, format="png")


def _label_counts(examples: Subset, label_names: Sequence[str]) -> dict[str, int]:
    counts = examples.column("target").sum(dim=0).tolist()
    return {name: count for name, count in zip(label_names, counts, strict=True) if count}


def _samples(examples: Subset, label_names: Sequence[str]) -> list[int]:
    """Return rows that show every class in turn, as many as there is room for; without classes the first."""
    if not label_names:
        return list(range(min(len(examples), SAMPLES)))
    target = examples.column("target")
    by_class = [column.nonzero()[:, 0].tolist() for column in target.T if column.any()]
    by_class = by_class or [list(range(len(examples)))]
    turns = max(len(rows) for rows in by_class)
    numbered = list(enumerate(by_class))
    chosen = [(label, rows[turn]) for turn in range(turns) for label, rows in numbered if turn < len(rows)]
    return [row for _, row in sorted(chosen[:SAMPLES])]


def _draw_samples(axes: Sequence[Axes], client: ClientData, label_names: Sequence[str]) -> None:
    for ax in axes:
        ax.set_axis_off()
    shown = client.train.batch(torch.tensor(_samples(client.train, label_names)))
    for ax, image in zip(axes, shown["image"], strict=False):
        ax.imshow(pixels(image), cmap="gray", vmin=0, vmax=255)
    for ax, held in zip(axes, shown["target"].tolist() if label_names else [], strict=False):
        names = [_short(name, 19) for name, has in zip(label_names, held, strict=True) if has]
        more = f" +{len(names) - 1}" if len(names) > 1 else ""
        ax.set_title(f"{names[0]}{more}" if names else "no finding", fontsize=8, color=GREY, pad=3)


def _draw_counts(ax: Axes, counts: dict[str, int], colour: str) -> None:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    bars = [(_short(name, 28), count) for name, count in ordered[:MOST_CLASSES]]
    if len(ordered) > MOST_CLASSES:
        rest = ordered[MOST_CLASSES:]
        bars.append((f"{len(rest)} more", sum(count for _, count in rest)))
    places = range(len(bars))
    drawn = ax.barh(places, [count for _, count in bars], height=0.7, color=colour)
    ax.bar_label(drawn, padding=3, fontsize=8, color=GREY)
    ax.set_yticks(places, [name for name, _ in bars], fontsize=8)
    ax.set_ylim(max(len(bars), 5) - 0.5, -0.5)  # few classes get bars as thin as many do
    ax.margins(x=0.15)
    ax.set_xticks([])
    ax.tick_params(axis="y", length=0, colors=GREY)
    ax.spines[:].set_visible(False)


def _draw_profiles(band: SubFigure, profiles: Sequence[ModalityProfile], low_pass: float) -> None:
    """Draw the intensities and the spectra of all modalities, a line each."""
    bright, spectra = band.subplots(1, 2)
    band.subplots_adjust(left=0.06, right=0.97, top=0.88, bottom=0.17, wspace=0.18)
    for number, profile in enumerate(profiles):
        colour, bins = CLIENT_COLOURS[number % len(CLIENT_COLOURS)], len(profile.histogram)
        middles = [(place + 0.5) / bins for place in range(bins)]
        bright.plot(middles, profile.histogram, color=colour, label=f"{_short(profile.group, 28)} ({profile.images})")
        spectra.plot(range(len(profile.spectrum)), profile.spectrum, color=colour)
    limit = max(1, round(low_pass * max(len(profile.spectrum) for profile in profiles)))
    spectra.axvline(limit, color=GREY, linestyle=":", linewidth=1)
    spectra.text(limit, 0.98, " up to here the adapter reads", transform=spectra.get_xaxis_transform(), **_NOTE)
    bright.set_yscale("log")
    bright.legend(fontsize=8, frameon=False, title="modality (images)", title_fontsize=8)
    bright.set_title("Intensities of training images", fontsize=10, loc="left")
    spectra.set_title("Mean spectra: log(1 + frequency x amplitude), by cycles per image", fontsize=10, loc="left")
    for ax in (bright, spectra):
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(which="both", labelsize=8, colors=GREY)


def _short(name: str, width: int) -> str:
    """Return the class without the name of its set."""
    return shorten(name.rpartition("/")[2], width, placeholder="…")
