"""What is learned on top of a LLaVA model, in PEFT's format: low-rank changes, and the projector next to them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from omnifm.networks.llava.settings import LlavaSettings
from omnifm.utils.errors import ExperimentError

PROJECTOR = "projector.safetensors"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
ATTENTION = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj)"
"""The attention's projections in a language model of LLaMA's type; the image encoder has some of these names too."""


def add_lora(model: Any, settings: LlavaSettings) -> Any | None:
    """Freeze a LLaVA model but for what the settings train; return PEFT's view of it, if it has low-rank changes.

    Raises:
        ExperimentError: ``lora`` is no such folder, or it does not fit the model.
    """
    lora_trained = settings.train == "connector+llm"
    model.requires_grad_(False)
    peft = None
    with _quiet():
        if settings.lora:
            peft = _start_from(model, Path(settings.lora).expanduser(), lora_trained)
        if lora_trained and peft is None:
            peft = _new(model, settings)
    model.model.vision_tower.requires_grad_(False)
    model.model.multi_modal_projector.float().requires_grad_(True)
    return peft


def save(model: Any, peft: Any | None, folder: Path) -> None:
    """Write the projector, and the low-rank changes as ``PeftModel.from_pretrained`` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    projector = model.model.multi_modal_projector.state_dict()
    save_file({name: value.cpu().contiguous() for name, value in projector.items()}, folder / PROJECTOR)
    if peft is not None:
        peft.save_pretrained(folder, save_embedding_layers=False)


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the dropout of every low-rank change."""
    return [module for name, module in model.named_modules() if name.endswith("lora_dropout")]


def _new(model: Any, settings: LlavaSettings) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=ATTENTION
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise ExperimentError(f"The language model of {settings.model} has no attention to change: {error}") from None


def _start_from(model: Any, folder: Path, trained: bool) -> Any | None:
    from peft import PeftModel

    has_adapter, has_projector = (folder / ADAPTER_CONFIG).exists(), (folder / PROJECTOR).exists()
    if not (has_adapter or has_projector):
        raise ExperimentError(
            f"lora = {str(folder)!r} holds nothing to start from: neither {ADAPTER_CONFIG} with {ADAPTER}, as PEFT "
            f"writes them, nor {PROJECTOR}."
        )
    if has_adapter and not (folder / ADAPTER).exists():
        pickled = (folder / "adapter_model.bin").exists()
        reason = "adapter_model.bin is a pickle, which may run code when it is read" if pickled else "it is missing"
        raise ExperimentError(f"lora = {str(folder)!r} needs {ADAPTER}: {reason}. PEFT's save_pretrained writes it.")
    try:
        if has_projector:
            model.model.multi_modal_projector.load_state_dict(load_file(folder / PROJECTOR))
        return PeftModel.from_pretrained(model, folder, is_trainable=trained) if has_adapter else None
    except (OSError, RuntimeError, ValueError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ExperimentError(f"lora = {str(folder)!r} does not fit this model: {reason}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep PEFT from warning of what it calls in transformers and will be renamed there."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield
