"""Draw the pictures of docs/method.md into docs/pictures: ``python docs/site/method_pictures.py``.

All of them come from the phantom and from the functions that train. The same versions draw the same files.
``python docs/site/method_pictures.py FOLDER`` measures the agreement of spectra on registered pairs of real images.
"""

from __future__ import annotations

import io
import itertools
import re
import sys
import tempfile
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_dir

import omnifm
from omnifm.algorithms.bank_broadcast import bank_from_state
from omnifm.callbacks.events import CheckpointEvent
from omnifm.data.phantom import Scanner, load_anatomy, make_patient, render
from omnifm.results.circle_charts import circle_chart
from omnifm.results.circle_history import circle_history
from omnifm.results.result_folder import ArmRecord, read_folder
from omnifm.spectral.bank import KnowledgeBank
from omnifm.spectral.spectrum import low_pass_log_amplitude
from omnifm.utils.seeding import numpy_generator

MODALITIES = ("T1", "T2", "FLAIR", "CT", "PET", "SPECT")
RHO = 0.25
COLOURS = ("#0b7285", "#e0702c", "#7a4fb5", "#26a175", "#b98a0c", "#d4505c")
STYLE: Any = {
    "svg.hashsalt": "omnifm", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 9, "axes.spines.top": False,
    "axes.spines.right": False, "legend.frameon": False, "figure.constrained_layout.use": True,
}  # fmt: skip
DOCS = Path(__file__).resolve().parents[1]
EARLY = 2
"""After how many rounds the bank is drawn first: when circles form."""

Pixels = NDArray[np.floating[Any]]


def images(patients: Sequence[str], size: int = 96) -> dict[str, Pixels]:
    """Return the slices ``(patients, size, size)`` of the same patients in each modality."""
    anatomy = load_anatomy(Path(user_cache_dir("omnifm")))
    truths = [make_patient(anatomy, "glioma", seed=0, name=name).slice(size) for name in patients]
    return {
        modality: np.stack(
            [
                render(truth, Scanner(modality), numpy_generator(0, name, modality))
                for name, truth in zip(patients, truths, strict=True)
            ]
        )
        for modality in MODALITIES
    }


def amplitude(pixels: Pixels) -> Pixels:
    """Return the centred spectrum ``log(1 + frequency * amplitude)`` of images ``(..., size, size)``, whole."""
    size = pixels.shape[-1]
    offsets = np.arange(size) - size // 2
    frequency = np.maximum(np.hypot(*np.meshgrid(offsets, offsets)), 0.5)
    return np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(pixels), axes=(-2, -1))) * frequency / size).astype(np.float32)


def low_pass(pixels: Pixels) -> Pixels:
    """Return an image ``(size, size)`` made of the frequencies alone that the adapter looks at."""
    size = len(pixels)
    kept = np.abs(np.fft.fftfreq(size) * size) <= round(RHO * size / 2)
    return np.fft.ifft2(np.fft.fft2(pixels) * np.outer(kept, kept)).real.astype(np.float32)


def draw_spectra(slices: Mapping[str, Pixels]) -> Figure:
    """Draw one slice in each modality, its spectrum with the square that is kept, and what the adapter sees of it."""
    figure = Figure(figsize=(9, 4.6))
    grid = figure.subplots(3, len(slices))
    for column, (modality, pixels) in zip(grid.T, slices.items(), strict=True):
        size = pixels.shape[-1]
        side = 2 * round(RHO * size / 2) + 1
        column[0].imshow(pixels[0], cmap="gray")
        column[0].set_title(modality)
        column[1].imshow(amplitude(pixels[0]), cmap="magma")
        corner = size // 2 - side / 2
        column[1].add_patch(Rectangle((corner, corner), side, side, fill=False, color="#63e6ff", linewidth=1.2))
        seen = low_pass_log_amplitude(torch.from_numpy(pixels[:1, None]), RHO, 15)
        column[2].imshow(seen[0, 0], cmap="magma")
    for row, name in zip(grid, ("image", "spectrum, low-pass", "what the\nadapter sees"), strict=True):
        row[0].set_ylabel(name)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def draw_low_pass(slices: Mapping[str, Pixels]) -> Figure:
    """Draw of three modalities the image, its low frequencies and the rest."""
    shown = ("T2", "CT", "PET")
    figure = Figure(figsize=(6, 2.1 * len(shown)))
    for row, modality in zip(figure.subplots(len(shown), 3), shown, strict=True):
        pixels = slices[modality][0]
        kept = low_pass(pixels)
        parts = {"image": pixels, "low frequencies: kept": kept, "high frequencies: left out": pixels - kept}
        for axes, (title, part) in zip(row, parts.items(), strict=True):
            axes.imshow(part, cmap="gray", **({} if "high" in title else {"vmin": 0, "vmax": float(pixels.max())}))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if modality == shown[0]:
                axes.set_title(title)
        row[0].set_ylabel(modality)
    return figure


def agreement(one: Pixels, two: Pixels, low: float, high: float) -> float:
    """Return how the spectra of images ``(n, size, size)`` agree with those of others, row by row.

    It is the correlation of their log-amplitudes over the frequencies from ``low`` to ``high`` (1: Nyquist), the mean
    over the rows.
    """
    size = one.shape[-1]
    offsets = (np.arange(size) - size // 2) / (size / 2)
    radius = np.hypot(*np.meshgrid(offsets, offsets))
    ring = (radius >= low) & (radius < high)
    spectra = [np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(part), axes=(-2, -1))))[:, ring] for part in (one, two)]
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*spectra, strict=True)]))


def agreements(pairs: Sequence[tuple[Pixels, Pixels]], low: float, high: float) -> tuple[float, float]:
    """Return the mean agreement over pairs of modalities: of the same patient, and of two patients."""
    same = [agreement(one, two, low, high) for one, two in pairs]
    other = [agreement(one, np.roll(two, len(two) // 3, axis=0), low, high) for one, two in pairs]
    return float(np.mean(same)), float(np.mean(other))


def print_agreements(folder: Path) -> None:
    """Print the agreement on registered pairs as ``kind = "image_pairs"`` reads them."""
    for pair in sorted(path for path in folder.iterdir() if path.is_dir()):
        places = [pair / modality for modality in pair.name.split("-")]
        names = sorted(path.name for path in places[0].glob("*.png"))
        names = names[:: max(1, len(names) // 24)][:24]
        one, two = (np.stack([np.asarray(Image.open(place / n).convert("L")) for n in names]) for place in places)
        for low, high in ((0, RHO), (0.5, 1)):
            same, other = agreements([(one / 255, two / 255)], low, high)
            print(f"{pair.name}, {low:g} to {high:g} of Nyquist: one patient {same:.2f}, two patients {other:.2f}")


def draw_agreement(slices: Mapping[str, Pixels]) -> Figure:
    """Draw how far the spectra of two modalities agree, by frequency."""
    edges = np.linspace(0, 1, 13)
    pairs = list(itertools.combinations(slices.values(), 2))
    same, other = zip(*[agreements(pairs, low, high) for low, high in itertools.pairwise(edges)], strict=True)
    frequency = (edges[:-1] + edges[1:]) / 2
    figure = Figure(figsize=(6, 2.6))
    axes = figure.add_subplot(xlabel="frequency (1: Nyquist)", ylabel="correlation", xlim=(0, 1), ylim=(0, 1))
    axes.axvspan(0, RHO, color=COLOURS[0], alpha=0.1, linewidth=0)
    axes.text(RHO / 2, 1.02, "kept", ha="center", transform=axes.get_xaxis_transform(), color=COLOURS[0])
    axes.plot(frequency, same, "o-", color=COLOURS[0], label="the same patient in two modalities")
    axes.plot(frequency, other, "s--", color="#8b929c", label="two patients")
    axes.legend()
    return figure


def draw_banks(banks: Mapping[int, KnowledgeBank]) -> Figure:
    """Draw the entries of the banks after some rounds, each by its first two principal components."""
    figure = Figure(figsize=(9, 3.8))
    marks = {}
    for axes, (number, bank) in zip(figure.subplots(1, len(banks)), banks.items(), strict=True):
        tokens, clients, groups = bank.tokens.double(), bank.clients.tolist(), bank.groups.tolist()
        centred = tokens - tokens.mean(dim=0)
        _, strength, directions = torch.linalg.svd(centred, full_matrices=False)
        places = (centred @ directions[:2].T).numpy()
        places = places * np.sign(places[np.abs(places).argmax(axis=0), [0, 1]])  # a component's sign means nothing
        first, second = (strength.square() / strength.square().sum())[:2].tolist()
        for colour, group in zip(COLOURS, sorted(set(groups)), strict=False):
            members = sorted({client for client, its in zip(clients, groups, strict=True) if its == group})
            for marker, client in zip("o^sDvP", members, strict=False):
                rows = [row for row, name in enumerate(clients) if name == client]
                style: Any = {"color": colour, "marker": marker, "alpha": 0.8, "linewidths": 0, "s": 30}
                marks[client] = axes.scatter(*places[rows].T, **style)
        distance = torch.pdist(tokens).mean()
        axes.set_title(f"after round {number}: mean distance {distance:.2g}", loc="left")
        axes.set(xlabel=f"first component ({first:.0%} of the variance)", ylabel=f"second component ({second:.0%})")
    figure.legend(marks.values(), marks.keys(), loc="outside right upper", title="prototypes of")
    return figure


class Banks(omnifm.Callback):
    """Keeps the banks of some rounds."""

    def __init__(self, rounds: Collection[int]) -> None:
        self.rounds, self.found = rounds, dict[int, KnowledgeBank]()

    def on_checkpoint(self, event: CheckpointEvent) -> None:
        """Read the bank out of the server's state."""
        server = event.checkpoint.server
        if server.round in self.rounds and server.memory:
            self.found[server.round] = bank_from_state(dict(server.memory), dict(server.notes))


def tutorial() -> dict[str, Any]:
    """Return the experiment of docs/first-run.md with the one arm that has a bank."""
    (block,) = re.findall(r"^```toml\n(.*?)^```", (DOCS / "first-run.md").read_text(encoding="utf-8"), re.DOTALL | re.M)
    return {**tomllib.loads(block), "arms": {"omnifm": {"algorithm": "omnifm"}}}


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, or as PNG of few colours."""
    if path.suffix == ".svg":
        figure.savefig(path, metadata={"Date": None})
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    Image.open(buffer).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def main(out: Path, patients: int = 24, experiment: Mapping[str, Any] | None = None) -> None:
    """Draw all pictures into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    slices = images([f"patient {number}" for number in range(patients)])
    document = dict(experiment or tutorial())
    with mpl.rc_context(STYLE):
        save(draw_spectra(slices), out / "spectra.png")
        save(draw_low_pass(slices), out / "low-pass.png")
        save(draw_agreement(slices), out / "agreement.svg")
        keeper = Banks((EARLY, document["federation"]["rounds"]))
        with tempfile.TemporaryDirectory() as folder:
            run = omnifm.run(document, out=Path(folder) / "run", workers=1, callbacks=[keeper])
            (arm,) = read_folder(run.folder).arms
        save(draw_banks(keeper.found), out / "bank.svg")
    draw_circles(arm, out / "circles.svg")


def draw_circles(arm: ArmRecord, path: Path) -> None:
    """Draw who is in a circle with whom, as the report of a run does."""
    history = circle_history(arm)
    assert history is not None, "no two hospitals were in a circle"
    drawn = str(circle_chart(history.numbers)).replace("<svg ", '<svg font-family="sans-serif" ', 1)
    path.write_text(drawn + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:]:
        print_agreements(Path(sys.argv[1]))
    else:
        main(DOCS / "pictures")
