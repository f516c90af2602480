"""What lies beside an exported model for people: a model card, and how to run it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from omnifm.export.description import Exported
from omnifm.results.result_folder import POINTS
from omnifm.utils.atomic_write import write_atomically

CARD, DESCRIPTION = "MODEL_CARD.md", "model.json"
_TEMPLATES = Path(__file__).with_name("templates")


def write_papers(exported: Exported, folder: Path, file: str, code: str, needs: str) -> None:
    """Write the model card, the README and the description of a model beside its file."""
    about = exported.description
    write_atomically(folder / DESCRIPTION, json.dumps(about, indent=1).encode())
    text = readme(about, file=file, code=code, needs=needs, metadata=DESCRIPTION)
    write_atomically(folder / "README.md", text.encode())
    write_atomically(folder / CARD, model_card(exported).encode())


def model_card(exported: Exported) -> str:
    """Return what there is to know of a model before it is used: data, metrics, training, privacy, limits."""
    about, document, spec = exported.description, exported.document, exported.model.spec
    kinds = [source["kind"] for source in document["data"]["sources"]]
    names = [
        source.get("name") or source.get("set") or source.get("modality") for source in document["data"]["sources"]
    ]
    rounds = {key: document["federation"][key] for key in ("rounds", "participation")}
    adapter = {f"adapter.{key}": document["adapter"][key] for key in ("rho", "grid", "token_dim", "neighbours")}
    return _filled(
        "MODEL_CARD.md.j2",
        about=about,
        document=document,
        parameters=exported.parameters,
        placed=_placed(exported),
        clients=[asdict(one) for one in spec.client_stats],
        sources=[f"`{kind}`" + (f" ({name})" if name else "") for kind, name in zip(kinds, names, strict=True)],
        synthetic=all(kind.startswith("phantom") for kind in kinds),
        point=POINTS[exported.loaded.experiment.federation.evaluate[0]],
        scores=exported.scores.to_dict("records"),
        own=dict(exported.own_scores),
        training={"seed": document["seed"], **rounds, **document["training"], **adapter},
        privacy={key: value for key, value in document["privacy"].items() if value},
        modalities=sorted({part for one in spec.client_stats for part in one.group.split("+")}),
        least=min((one.test for one in spec.client_stats), default=0),
    )


def readme(about: dict[str, Any], *, file: str, code: str, needs: str = "", metadata: str = "") -> str:
    """Return how an exported model is run.

    Args:
        about: its description.
        file: of the model.
        code: Python that runs it on an image, with this library or without.
        needs: what pip installs for that.
        metadata: the file that holds the description as JSON.
    """
    rule = about["image"]["prepared"]["intensity"]
    more = {key: value for key, value in rule.items() if key in ("window", "percentiles", "bits") and value}
    used = {"window": "window", "percentile": "percentiles", "full_range": "bits"}.get(rule["rule"], "")
    intensity = f" ({used} = {more[used]})" if used in more else ""
    return _filled(
        "README.md.j2", about=about, file=file, code=code, needs=needs, metadata=metadata, intensity=intensity
    )


def _placed(exported: Exported) -> str:
    """Say whose model it is that is no single client's."""
    if exported.model.placement:
        return f"a client that took no part: {exported.model.placement}"
    lacking = f"; {exported.lacking} tensors, which are each client's own, are missing" if exported.lacking else ""
    return f"all clients{lacking}"


def _filled(template: str, **matter: Any) -> str:
    environment = Environment(  # nosec B701  # Markdown, in which HTML's escapes would be read as they are
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**matter)
