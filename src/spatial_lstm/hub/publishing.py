"""From a model file to a folder, and from there to the Hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from spatial_lstm.files import write_atomically
from spatial_lstm.hub.card import card
from spatial_lstm.hub.opening import open_any
from spatial_lstm.hub.record import publishable
from spatial_lstm.training import published, read_model

CARD = "README.md"
FILES = (published.WEIGHTS, published.CONFIG, published.RECORD, CARD)
# As the Hub writes them: mit, apache-2.0, cc-by-4.0, other.
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


def save_pretrained(
    source: Path | str,
    folder: Path | str,
    *,
    license: str | None = None,
    datasets: Sequence[str] = (),
    name: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a trained model as a folder that the Hub shows and :func:`~spatial_lstm.hub.load_pretrained` and the commands open.

    The folder has the weights bit for bit in ``model.safetensors``, what they belong to in ``config.json``, how they came about in
    ``record.json``, and a model card, ``README.md``. Paths are shortened to names, and the texts of single lines are left out.

    Args:
        source: A model file or a run's folder.
        folder: To write; new or empty.
        license: Of the model, as the Hub calls it; None to state none.
        datasets: Names on the Hub of what it was trained on.
        name: Of the model on its card, as ``"owner/name"`` for one that is to be pushed; None for the folder's.
        overwrite: Whether a model that the folder holds may be lost.

    Returns:
        The folder.

    Raises:
        ValueError: If there is no model, the folder holds something, or the license is no name of the Hub's.
    """
    target = Path(folder)
    if license is not None and not LICENSE.fullmatch(license):
        raise ValueError(f"expected a license as the Hub calls it, such as mit, cc-by-4.0 or other, got {license!r}")
    opened = open_any(Path(source))
    _refuse(target, overwrite)
    content = publishable(read_model(Path(source))[1])
    parameters = sum(parameter.numel() for parameter in opened.model.parameters())
    called = name or target.resolve().name
    try:
        text = card(content, name=called, parameters=parameters, license=license, datasets=datasets)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected the record of a run, got {source}, which lacks something: {error}") from error
    write_atomically(target / CARD, lambda file: file.write(text.encode(errors="backslashreplace")))
    published.write(target, content)
    return target


def push(folder: Path | str, repository: str, *, private: bool = False) -> str:
    """Upload a folder that :func:`save_pretrained` wrote, with the account that the Hub's client knows.

    Args:
        folder: To upload; its four files alone.
        repository: ``"owner/name"``; made if it is not there.
        private: Whether a new repository is private.

    Returns:
        The address of the upload.

    Raises:
        ValueError: If the folder holds no model.
        OSError: If the Hub can't be reached, or refuses.
    """
    from huggingface_hub import HfApi

    if not (Path(folder) / published.CONFIG).is_file():
        raise ValueError(f"expected a folder that save_pretrained wrote, got {folder} without {published.CONFIG}")
    open_any(Path(folder))
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repository, folder_path=str(folder), allow_patterns=list(FILES))
    except Exception as error:  # of the Hub or of the network; each client has its own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise OSError(f"{repository} could not be written to the Hub: {reason}") from error
    return str(done)


def _refuse(folder: Path, overwrite: bool) -> None:
    """Refuse to write into what is there.

    Raises:
        ValueError: If it is a file, or holds something; with ``overwrite``, something else than a published model.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder to write to, got the file {folder}")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    strange = [name for name in there if name not in FILES]
    if strange:
        raise ValueError(f"expected a new folder, got {folder}, which holds {', '.join(strange[:3])}")
    if there and not overwrite:
        raise ValueError(
            f"expected a new folder, got {folder}, which holds a model: it is kept unless overwrite is asked for"
        )
