"""Where initial weights come from: a file, a folder, or the Hugging Face Hub; and the copies that a run keeps."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from omnifm.utils.atomic_write import write_atomically
from omnifm.utils.errors import CheckpointError, ExperimentError
from omnifm.utils.hub import hub_fault

SCRATCH = "scratch"
MODEL_FILE = "model.safetensors"
"""What a folder, or a repository of the hub, holds the weights in unless another name is given."""

_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(:(?P<file>.+))?")


def find_weights(init: str) -> Path:
    """Return the file that ``init`` names: a path, a folder with ``model.safetensors``, or a hub id.

    A hub id is ``owner/name`` or ``owner/name:file``; its file is downloaded once, into the hub's own cache, from which
    it is taken where the hub cannot be reached.

    Raises:
        ExperimentError: there is no such file, or it cannot be downloaded; says why.
    """
    path = Path(init).expanduser()
    path = path / MODEL_FILE if path.is_dir() else path
    if path.is_file():
        return path
    hub_id = _HUB_ID.fullmatch(init)
    if hub_id is None or (init.endswith(".safetensors") and hub_id["file"] is None):
        raise ExperimentError(
            f"init = {init!r}: there is no file {path}. Make one by 'omnifm pretrain', or set init = {SCRATCH!r}."
        )
    return _download(init, hub_id["repository"], hub_id["file"] or MODEL_FILE)


def _download(init: str, repository: str, file: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ExperimentError(
            f"init = {init!r} is no file here, and to look on the Hugging Face Hub takes huggingface_hub: "
            "pip install huggingface_hub."
        ) from None
    fault = hub_fault()
    try:
        return Path(hf_hub_download(repository, file, local_files_only=bool(fault)))
    except (OSError, ValueError) as error:  # no such repository or file, no right to read it, not in the cache
        missing = isinstance(error, OSError) and fault
        reason = missing or str(error).strip().splitlines()[0].rstrip(".")
        raise ExperimentError(
            f"init = {init!r} is no file here, and {file} of {repository} cannot be had from the Hugging Face Hub: "
            f"{reason}. Download it where there is a network, and give its path."
        ) from None


@dataclass(frozen=True)
class KeptWeights:
    """Copies of the files that a run starts from: ``SHA256.safetensors``, and which is which in ``index.json``.

    With them a run can be resumed and repeated when the original files have changed or are gone.
    """

    path: Path

    def keep(self, inits: Iterable[str], known: KeptWeights | None = None) -> None:
        """Copy what these ``init`` name; ``known`` copies go before the files themselves.

        Raises:
            ExperimentError: a file is not there, or cannot be copied.
        """
        index = {}
        for init in sorted(set(inits) - {SCRATCH}):
            source = known.find(init) if known and init in known.index() else find_weights(init)
            try:
                data = source.read_bytes()
                index[init] = hashlib.sha256(data).hexdigest()
                self.path.mkdir(parents=True, exist_ok=True)
                write_atomically(self._copy(index[init]), data)
            except OSError as error:
                raise ExperimentError(
                    f"init = {init!r}: {source} cannot be copied into {self.path}: {error.strerror}."
                ) from None
        if index:
            write_atomically(self.path / "index.json", json.dumps(index, indent=1).encode())

    def index(self) -> dict[str, str]:
        """Return the SHA-256 of the copies by ``init``.

        Raises:
            CheckpointError: the list of them is damaged.
        """
        path = self.path / "index.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path}, the list of the weights that the run starts from: {error}.") from None

    def find(self, init: str) -> Path:
        """Return the copy of what ``init`` names.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        digest = self.index().get(init, "")
        path = self._copy(digest)
        if not digest or not path.is_file():
            raise CheckpointError(f"The copy of {init!r}, which the run starts from, is missing in {self.path}.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise CheckpointError(f"{path}, which the run starts from, is damaged: its SHA-256 is not its name.")
        return path

    def _copy(self, digest: str) -> Path:
        return self.path / f"{digest}.safetensors"
