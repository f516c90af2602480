"""Ten lines of Python that run an exported model, for the README beside it."""

from __future__ import annotations

from typing import Any

_QUESTION = "is there a lesion?"
_SHOWN = {
    "labels": "for name, value in zip({labels}, {main}[0].tolist()):\n    print(name, round(value, 3))\n",
    "regions": "mask = {main}[0] > {threshold}  # a layer for each of {labels}\nprint(mask.shape)\n",
    "image": "print({main}.shape)\n",
    "text": 'print(bytes({main}[0].tolist()).rstrip(b"\\0").decode())\n',
    "tensor": "print({main}.shape)\n",
}


def onnx_code(about: dict[str, Any], file: str) -> str:
    """Return how onnxruntime runs a model, from its description."""
    inputs = {"image": "image", **{name: f'{name}("{_QUESTION}")' for name in _others(about)}}
    given = ", ".join(f'"{name}": {value}' for name, value in inputs.items())
    return (
        f"{about['code'] or 'import numpy as np' + chr(10)}"
        "import onnxruntime\n\n"
        f'session = onnxruntime.InferenceSession("{file}")\n'
        f"image = np.zeros({_shape(about)}, dtype=np.float32)  # your image, prepared as below\n"
        f"{', '.join(about['outputs'])}{',' * (len(about['outputs']) == 1)} = session.run(None, {{{given}}})\n"
        f"{_shown(about)}"
    )


def torch_code(about: dict[str, Any], file: str) -> str:
    """Return how torch runs a model, from its description."""
    others = ", ".join(f'"{name}": torch.from_numpy({name}("{_QUESTION}"))' for name in _others(about))
    return (
        f"{about['code']}"
        "import torch\n\n"
        f'program = torch.export.load("{file}").module()\n'
        f"image = torch.zeros{_shape(about)}  # your image, prepared as below\n"
        f"found = program(image{f', {{{others}}}' if others else ''})\n"
        f'{_main(about)} = found["{_main(about)}"]\n'
        f"{_shown(about)}"
    )


def bundle_code() -> str:
    """Return how MONAI runs a bundle on the images in its folder ``images``."""
    return (
        "from monai.bundle import run\n\n"
        'run(config_file="configs/inference.json", meta_file="configs/metadata.json")  # reads images/\n'
    )


def weights_code(file: str) -> str:
    """Return how the tensors are read without this library, and how another run starts from them."""
    return (
        "from safetensors.torch import load_file\n\n"
        f'tensors = load_file("{file}")  # by name; [experiment] init = THIS FOLDER starts another run from them\n'
        "for name, value in tensors.items():\n    print(name, tuple(value.shape))\n"
    )


def _others(about: dict[str, Any]) -> list[str]:
    return [name for name in about["inputs"] if name != "image"]


def _main(about: dict[str, Any]) -> str:
    return str(next(iter(about["outputs"])))


def _shape(about: dict[str, Any]) -> str:
    return str((1, about["image"]["channels"], *about["image"]["size"]))


def _shown(about: dict[str, Any]) -> str:
    known = {"labels": about.get("labels"), "threshold": about.get("threshold")}
    return _SHOWN[about["gives"]].format(main=_main(about), **known)
