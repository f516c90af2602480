"""A LLaVA model's files: what there must be, and how they are read. None of them is unpickled."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor

from omnifm.utils.errors import ExperimentError
from omnifm.utils.hub import hub_fault

FILES = {
    "config.json": ("config.json",),
    "model.safetensors (or model-*.safetensors with model.safetensors.index.json)": (
        "model.safetensors",
        "model.safetensors.index.json",
    ),
    "tokenizer.json (or tokenizer.model) and tokenizer_config.json": ("tokenizer.json", "tokenizer.model"),
    "preprocessor_config.json (or processor_config.json)": ("preprocessor_config.json", "processor_config.json"),
}
"""What a folder must hold, each with the names of which one must be there."""

_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class Reader(NamedTuple):
    """What a model has besides its weights.

    Its ``tokenizer``, the text ``image_token`` that stands for each of the ``image_tokens`` of an image, the token
    ``end`` of a text, and ``mean`` and ``std`` ``(3,)`` of its images.
    """

    tokenizer: Any
    image_token: str
    image_tokens: int
    end: int
    mean: Tensor
    std: Tensor


def read_reader(place: str) -> Reader:
    """Read all but the weights from a folder, or from the Hugging Face hub.

    Raises:
        ExperimentError: transformers or PEFT is not installed, files are missing, or they are of another model.
    """
    check_installed()
    with _told(place) as (found, cached):
        return _read_reader(found, cached)


def read_model(place: str, dtype: torch.dtype) -> Any:
    """Read the model, in evaluation mode, its weights of type ``dtype``.

    Raises:
        ExperimentError: files are missing or damaged.
    """
    with _told(place) as (found, cached):
        return _read_model(found, cached, dtype)


def check_installed() -> None:
    """Import what is needed.

    Raises:
        ExperimentError: it is not installed.
    """
    try:
        import peft  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise ExperimentError(
            f"network = 'llava' needs the packages transformers and peft ({error}). Install them: "
            f"pip install 'omnifm[vqa]'."
        ) from None


def _read_reader(place: str, cached: bool) -> Reader:
    from transformers import AutoConfig, AutoTokenizer, CLIPImageProcessorPil

    config = AutoConfig.from_pretrained(place, local_files_only=cached)
    if config.model_type != "llava":
        raise ValueError(f"its config.json is of a {config.model_type!r} model, not of a 'llava' model.")
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=cached)
    if tokenizer.eos_token_id is None:
        raise ValueError("its tokenizer has no token for the end of a text.")
    image_token = tokenizer.convert_ids_to_tokens(config.image_token_id)
    if not isinstance(image_token, str) or tokenizer.encode(image_token, add_special_tokens=False) != [
        config.image_token_id
    ]:
        raise ValueError(f"its tokenizer does not know the image's token, number {config.image_token_id}.")
    vision = config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    count = patches + (config.vision_feature_select_strategy == "full")
    images = CLIPImageProcessorPil.from_pretrained(place, local_files_only=cached)
    statistics = torch.tensor(images.image_mean), torch.tensor(images.image_std)
    return Reader(tokenizer, image_token, count, tokenizer.eos_token_id, *statistics)


def _read_model(place: str, cached: bool, dtype: torch.dtype) -> Any:
    from transformers import LlavaForConditionalGeneration

    loaded: Any = LlavaForConditionalGeneration.from_pretrained(
        place, dtype=dtype, use_safetensors=True, output_loading_info=True, local_files_only=cached
    )
    model, found = loaded
    if lacking := sorted(found["missing_keys"]):
        raise ValueError(f"its weights lack {len(lacking)} tensors, {lacking[0]} among them.")
    return model.eval()


@contextmanager
def _told(place: str) -> Iterator[tuple[str, bool]]:
    """Check the location of a model, and report in one message what fails when the block reads from it.

    Yields the location, and whether only files that are here are to be looked for.
    """
    folder = Path(place).expanduser()
    local = bool(place) and folder.is_dir()
    if not local and (not _HUB.fullmatch(place) or Path(folder.parts[0]).is_dir()):
        raise ExperimentError(
            f"llava.model = {place!r}: there is no such folder. Name a folder, or owner/name on the Hugging Face hub. "
            f"{_needed()}"
        )
    fault = "" if local else hub_fault()
    try:
        if local:
            _check(folder)
        with _silent():
            yield (str(folder), True) if local else (place, bool(fault))
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError, KeyError, SafetensorError) as error:
        reason = f"{fault}." if fault and isinstance(error, OSError) else str(error).strip().splitlines()[0]
        text = "cannot be read" if local else "is neither a folder here nor to be had from the Hugging Face hub"
        raise ExperimentError(f"llava.model = {place!r} {text}: {reason}{'' if local else f' {_needed()}'}") from None


def _check(folder: Path) -> None:
    missing = [what for what, names in FILES.items() if not any((folder / name).exists() for name in names)]
    if not missing and not (folder / "tokenizer_config.json").exists():
        missing = ["tokenizer_config.json"]
    index = folder / "model.safetensors.index.json"
    if not missing and not (folder / "model.safetensors").exists():
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [shard for shard in shards if not (folder / shard).exists()]
    if missing:
        pickled = any(folder.glob("*.bin"))
        hint = " Weights in *.bin files are pickles and not read: convert them to safetensors." if pickled else ""
        raise ExperimentError(f"llava.model = {str(folder)!r} lacks {'; '.join(missing)}.{hint}")


def _needed() -> str:
    return f"A LLaVA folder holds {'; '.join(FILES)}."


@contextmanager
def _silent() -> Iterator[None]:
    """Hide progress bars and warnings of transformers: this module reports errors itself."""
    from transformers.utils import logging as transformers_logging

    bars: Any = transformers_logging
    shown = bars.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
