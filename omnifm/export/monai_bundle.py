"""A MONAI bundle: the program, and configurations by which MONAI reads images, runs it and writes what it gives.

Specification: https://docs.monai.io/en/stable/mb_specification.html. The network is a program of ``torch.export``, so
that a bundle needs neither this library nor a pickled file.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omnifm.data.reading.intensity import CT_WINDOW
from omnifm.export.description import Exported
from omnifm.export.papers import model_card, write_papers
from omnifm.export.program import Program, make_program
from omnifm.export.sample_code import bundle_code
from omnifm.export.torch_file import TORCH_FILE, write_torch
from omnifm.utils.atomic_write import write_atomically

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"


def write_bundle(exported: Exported, folder: Path) -> None:
    """Write ``configs``, ``models`` and ``docs`` of a bundle, and ``scripts`` where the network has further inputs.

    Raises:
        ExperimentError: networks of this task cannot be exported, or the program computes something else.
    """
    about, program = exported.description, make_program(exported.model, main_only=True)
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_torch(program, folder / "models", about)
    if about["code"]:
        (folder / "scripts").mkdir(exist_ok=True)
        write_atomically(folder / "scripts/__init__.py", b"")
        write_atomically(folder / "scripts/inputs.py", about["code"].encode())
    _write_json(folder / "configs/metadata.json", _metadata(about, program))
    _write_json(folder / "configs/inference.json", _inference(about))
    write_papers(exported, folder, f"models/{TORCH_FILE}", bundle_code(), "monai nibabel pillow")
    write_atomically(folder / "docs/README.md", model_card(exported).encode())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2).encode())


def _metadata(about: dict[str, Any], program: Program) -> dict[str, Any]:
    main, pred = next(iter(program.expected.items()))
    image, prepared = about["image"], about["image"]["prepared"]
    needed = {name: version(name) for name in ("nibabel", "pillow")}
    channels = {str(number): "image" for number in range(image["channels"])}
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported after round {about['round']}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": needed,
        "name": about["name"],
        "task": about["task"],
        "description": f"Federated model of {about['algorithm']}, {about['client'] or 'of all clients'}.",
        "authors": "The experiment's authors",
        "copyright": "The experiment's authors",
        "intended_use": about["use"],
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": prepared["modality"] or "n/a",
                    "num_channels": image["channels"],
                    "spatial_shape": image["size"],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": bool(prepared["tile"]),
                    "channel_def": channels,
                }
            },
            "outputs": {
                "pred": {
                    "type": "image" if pred.dim() > 2 else "probabilities" if about["gives"] == "labels" else "array",
                    "format": main,
                    "num_channels": pred.shape[1],
                    "spatial_shape": list(pred.shape[2:]),
                    "dtype": str(pred.dtype).removeprefix("torch."),
                    "value_range": [0, 1] if pred.is_floating_point() else [0, 255],
                    "is_patch_data": bool(prepared["tile"]),
                    "channel_def": {str(number): name for number, name in enumerate(about.get("labels", [main]))},
                }
            },
        },
        "omnifm": about,
    }


def _inference(about: dict[str, Any]) -> dict[str, Any]:
    """Return what ``monai.bundle run`` does: read each image of a folder, and save or print what the network gives."""
    others = [name for name in about["inputs"] if name != "image"]
    more = ", ".join(f"'{name}': torch.from_numpy({name}(@question)).to(@device)" for name in others)
    imports = ["$import torch", "$from pathlib import Path"]
    return {
        "imports": imports + [f"$from scripts.inputs import {name}" for name in others],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/predictions'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": f"$torch.export.unflatten(torch.export.load(@bundle_root + '/models/{TORCH_FILE}'))",
        "network": "$@network_def.to(@device)",
        **({"question": "is there a lesion?"} if others else {}),
        "datalist": "$[{'image': str(path)} for path in sorted(Path(@dataset_dir).iterdir()) if path.is_file()]",
        "preprocessing": {"_target_": "Compose", "transforms": _transforms(about)},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "inferer": {"_target_": "SimpleInferer"},
        "save": {
            "_target_": "SaveImage",
            "output_dir": "@output_dir",
            "separate_folder": False,
            "resample": False,
            **({} if len(about["image"]["size"]) == 3 else {"output_ext": ".png", "scale": 255}),
        },
        "predict": "$lambda image: @inferer(image[None].as_tensor().to(@device), @network"
        + (f", {{{more}}})[0]" if more else ")[0]"),
        "postprocessing": {"_target_": "Compose", "transforms": _finishing(about)},
        "run": ["$[@postprocessing({**item, 'pred': @predict(item['image'])}) for item in @dataset]"],
    }


def _transforms(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return MONAI's transforms that prepare an image as in training: rows run down, columns to the right."""
    image, prepared = about["image"], about["image"]["prepared"]
    volume = len(image["size"]) == 3
    turned = [{"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"}] if volume else []
    grey = "$lambda x: (0.299 * x[:1] + 0.587 * x[1:2] + 0.114 * x[2:3]) if x.shape[0] in (3, 4) else x"
    colour = "$lambda x: x[:3] if x.shape[0] >= 3 else x.repeat(3, *[1] * (x.ndim - 1))"
    channels = {1: grey, 3: colour}.get(image["channels"])
    return [
        {"_target_": "LoadImaged", "keys": "image", "dtype": None},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        *turned,
        {"_target_": "Lambdad", "keys": "image", "func": _scaling(prepared["intensity"], prepared["modality"])},
        *([{"_target_": "Lambdad", "keys": "image", "func": channels}] if channels else []),
        {"_target_": "Transposed", "keys": "image", "indices": [0, 3, 2, 1] if volume else [0, 2, 1]},
        {
            "_target_": "Resized",
            "keys": "image",
            "spatial_size": image["size"],
            "mode": "trilinear" if volume else "bilinear",
            "anti_aliasing": True,
        },
        {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x.clamp(0, 1)"},
    ]


def _scaling(rule: dict[str, Any], modality: str) -> str:
    """Return the rule of intensity as an expression of the values ``x``."""
    low, high = CT_WINDOW[0] - CT_WINDOW[1] / 2, CT_WINDOW[0] + CT_WINDOW[1] / 2
    window = rule.get("window")
    linear = "((x.float() - {low}) / {width}).clamp(0, 1)"
    lower, upper = (share / 100 for share in rule["percentiles"])
    flat = "x.float().flatten()[::max(1, x.numel() // 1000000)]"  # torch takes quantiles of a limited number of values
    ends = f"torch.quantile({flat}, torch.tensor([{lower}, {upper}]))"
    ranks = f"(lambda q: ((x.float() - q[0]) / (q[1] - q[0]).clamp(min=1e-6)).clamp(0, 1))({ends})"
    by_type = "x.float() / (255 if x.max() <= 255 else 4095 if x.max() <= 4095 else 65535)"
    if rule["rule"] == "window" and window:
        scaled = linear.format(low=window[0] - window[1] / 2, width=window[1])
    elif rule["rule"] == "full_range":
        scaled = f"x.float() / {2 ** rule['bits'] - 1}" if rule["bits"] else by_type
    elif rule["rule"] == "zscore":
        scaled = "((x.float() - x.float().mean()) / (6 * x.float().std()) + 0.5).clamp(0, 1)"
    elif rule["rule"] == "auto":
        other = linear.format(low=low, width=high - low) if modality.upper() == "CT" else ranks
        scaled = f"x.float() / 255 if x.dtype == torch.uint8 else {other}"
    else:
        scaled = ranks
    return f"$lambda x: {scaled}"


def _finishing(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is done to an item with a prediction ``pred`` for one image."""
    volume = len(about["image"]["size"]) == 3
    place = "{key: item['image'].meta[name] for key, name in (('filename_or_obj',) * 2, ('affine', 'original_affine'))}"
    saved = {"_target_": "Lambda", "func": f"$lambda item: [@save(item['pred'], {place}), item][1]"}
    if about["gives"] == "regions":
        way: dict[str, Any] = {"transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False}
        back = {"_target_": "Invertd", "keys": "pred", **way}
        return [back, {"_target_": "AsDiscreted", "keys": "pred", "threshold": about["threshold"]}, saved]
    if about["gives"] == "image":
        axes = "(0, 3, 2, 1)" if volume else "(0, 2, 1)"  # MONAI counts columns first
        return [{"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: x.permute{axes}"}, saved]
    shown = f"dict(zip({about.get('labels')}, item['pred'].tolist()))"
    if about["gives"] == "text":
        shown = "bytes(item['pred'].tolist()).rstrip(b'\\0').decode()"
    line = f"$lambda item: print(Path(item['image'].meta['filename_or_obj']).name, {shown}) or item"
    return [{"_target_": "Lambda", "func": line}]
