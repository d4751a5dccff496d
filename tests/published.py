"""Trained models with records, to be published, and what a folder says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spatial_lstm.handwriting import Codec, HandwritingRecognizer, LineReader
from spatial_lstm.handwriting.reader import learn_language

RECORD: dict[str, Any] = {
    "score": 0.1 + 0.2,
    "unit": "bits per pixel",
    "steps": 1234,
    "version": "0.1.0",
    "notes": {"data": "/home/somebody/photographs", "seed": 0, "validation": None},
    "task": {
        "side": 9,
        "record": {
            "name": "photographs",
            "notes": ["3 pictures lost their color"],
            "train": {"count": 10, "pixels": 4000, "sources": ["a.png"]},
            "validation": {"count": 1, "pixels": 400, "sources": []},
            "test": {"count": 2, "pixels": 800, "sources": []},
        },
    },
}
RESULT: dict[str, Any] = {
    "steps": 1300,
    "seconds": 61.25,
    "device": "cpu",
    "versions": {"torch": "2"},
    "validation": {"score": 1.5, "unit": "bits per pixel (log2 of a density; higher is better)", "tiles": 4, "tile": 9},
    "test": {
        "bits_per_pixel": 1.25,
        "standard_error": 0.0625,
        "unit": "bits per pixel: mean log2 of a density; higher is better, over all pixels",
        "images": 2,
        "tiles": 8,
        "tile": 9,
        "pixels": 420,
    },
}
RATES = {
    "lines": 3,
    "characters": 40,
    "cer": 0.05,
    "wer": 0.5,
    "cer_interval": [0.025, 0.075],
    "wer_interval": [0.25, 0.75],
    "interval_over": "pages",
    "worst": [{"reference": "what somebody wrote", "hypothesis": "what was read"}],
    "pages": [{"page": "letter-7.xml"}],
}


def reader(path: Path, **record: Any) -> LineReader:
    """A file that reads something, with a language and a codec of letters that go from right to left."""
    torch.manual_seed(0)
    codec = Codec("אבג ", form="NFD", right_to_left=True)
    network = HandwritingRecognizer(5, architecture="graves-2009", height=32)
    torch.nn.init.normal_(network.output.weight)
    made = LineReader(network, codec, record, learn_language(["אב ג", "בבא"], codec))
    path.parent.mkdir(exist_ok=True)
    made.save(path)
    return made


def metadata(folder: Path) -> dict[str, Any]:
    """What a folder's card tells machines."""
    from huggingface_hub import ModelCard

    found: dict[str, Any] = ModelCard.load(folder / "README.md").data.to_dict()
    return found
