"""Publish a trained model: a folder with its weights in safetensors and a model card, as the Hugging Face Hub takes them.

For example: publish out/charters charters-htr --license cc-by-4.0
"""

from __future__ import annotations

import argparse

from spatial_lstm.cli.errors import input_errors
from spatial_lstm.cli.options import path
from spatial_lstm.cli.runs import require


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("model", type=path, metavar="MODEL", help="a run's folder, or the best.pt in it")
    parser.add_argument("folder", type=path, metavar="FOLDER", help="to write, new or empty; its name is the model's")
    parser.add_argument(
        "--license", metavar="NAME", help="of the model, as the Hub calls it: mit, cc-by-4.0, other, .."
    )
    parser.add_argument(
        "--dataset",
        action="append",
        default=[],
        metavar="NAME",
        help="on the Hub that it was trained on; can be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="lose a model that FOLDER holds")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to this repository of the Hub, too")
    parser.add_argument("--private", action="store_true", help="make a new repository private")


def run(args: argparse.Namespace) -> int:
    """Write, and upload if asked to.

    Raises:
        UsageError: If there is no such model, the folder holds something, or the Hub refuses.
    """
    require("safetensors", "huggingface_hub")
    from spatial_lstm.hub import push, save_pretrained

    with input_errors():
        if args.push and not args.license:
            raise ValueError(
                "expected --license with --push: whoever finds the model has to know what may be done with it"
            )
        if args.private and not args.push:
            raise ValueError("expected --private with --push, got it alone")
        save_pretrained(
            args.model,
            args.folder,
            license=args.license,
            datasets=args.dataset,
            name=args.push,
            overwrite=args.overwrite,
        )
        print(f"wrote {args.folder}, which commands take as a model; README.md is its card: read it before others do")
        if not args.license:
            print("it states no license: --license says one")
        if args.push:
            print(f"uploaded: {push(args.folder, args.push, private=args.private)}")
    return 0
