"""From a folder, or the Hub, to a model."""

from __future__ import annotations

from pathlib import Path

from spatial_lstm.handwriting import HandwritingRecognizer, LineReader
from spatial_lstm.image_models.training import TrainedModel, open_model
from spatial_lstm.training import published, read_model


def load_pretrained(source: Path | str, *, revision: str | None = None) -> TrainedModel | LineReader:
    """Open a published model.

    Nothing that is loaded is run as code: weights are numbers, and what is built of them is one of this package's models.

    Args:
        source: A folder that :func:`~spatial_lstm.hub.save_pretrained` wrote, or a repository of the Hub with such files, as
            ``"owner/name"``; a folder of this name goes before it.
        revision: Of the repository: a branch, a tag or a commit.

    Returns:
        An image model with its record, or a reader of handwriting, on the CPU.

    Raises:
        ValueError: If it is no such folder or name, something in it is missing or broken, or it is another program's.
        OSError: If the Hub can't be reached, or has no such repository.
    """
    folder = Path(source)
    if not folder.exists():
        return open_any(_downloaded(str(source), revision))
    if revision is not None:
        raise ValueError(f"expected a revision of a repository alone, got {revision!r} of {folder}, which is here")
    return open_any(folder)


def open_any(path: Path) -> TrainedModel | LineReader:
    """Open a model of any kind, a published one or one that a run left.

    Raises:
        ValueError: If there is none, or it cannot be read.
    """
    _, content = read_model(path)
    model = content.get("model")
    reads = isinstance(model, dict) and model.get("kind") == HandwritingRecognizer.__name__
    return LineReader.load(path) if reads else open_model(path)


def _downloaded(name: str, revision: str | None) -> Path:
    """The folder where the Hub's client keeps a repository's files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if name.count("/") != 1:
        raise ValueError(f"expected a folder or owner/name of a repository, got {name!r}")
    wanted = [published.CONFIG, published.RECORD, published.WEIGHTS]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except HFValidationError as error:
        raise ValueError(f"expected a folder or owner/name of a repository, got {name!r}") from error
    except Exception as error:  # of the Hub or of the network; each client has its own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise OSError(f"no folder {name} is here, and of that name the Hub gave nothing: {reason}") from error
