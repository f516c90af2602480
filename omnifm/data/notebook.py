"""A data set as a notebook shows it: a table of what each client holds, with a few of its images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import torch
from markupsafe import Markup
from PIL import Image

from omnifm.data.images import pixels
from omnifm.data.show import describe, label_text
from omnifm.data.subset import ClientData

SHOWN_CLIENTS = 50
_SHOWN_IMAGES = 4
_SIDE = 64

_ROW = Markup(
    "<tr><th>{client}</th><td>{group}</td><td>{train}</td><td>{validation}</td><td>{test}</td><td>{patients}</td>"
    "<td style='text-align:left'>{labels}</td><td style='white-space:nowrap'>{images}</td></tr>"
)
_HEAD = Markup("<thead><tr>{}</tr></thead>").format(
    Markup("").join(
        Markup("<th>{}</th>").format(name)
        for name in ("client", "modality", "train", "validation", "test", "patients", "training images", "")
    )
)


def dataset_html(clients: Sequence[ClientData], label_names: Sequence[str]) -> str:
    """Return a table as HTML, with the first training images of each client in it."""
    shown = clients[:SHOWN_CLIENTS]
    rows = [
        _ROW.format(**{**row, "labels": label_text(row)}, images=_images(client))
        for client, row in zip(shown, describe(shown, label_names), strict=True)
    ]
    more = len(clients) - len(shown)
    rest = Markup("<p>and {} more clients</p>").format(more) if more else Markup("")
    body = Markup("").join(rows)
    return str(Markup("<table>{}<tbody>{}</tbody></table>{}").format(_HEAD, body, rest))


def _images(client: ClientData) -> Markup:
    batch = client.train.batch(torch.arange(min(_SHOWN_IMAGES, len(client.train))))
    return Markup(" ").join(_image(image) for image in batch["image"])


def _image(image: torch.Tensor) -> Markup:
    small, file = Image.fromarray(pixels(image)), io.BytesIO()
    small.thumbnail((_SIDE, _SIDE))
    small.save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return Markup("<img src='{}' width='{}' height='{}' alt=''>").format(source, *small.size)
