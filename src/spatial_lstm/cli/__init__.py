"""The commands of ``python -m spatial_lstm``. A new one is one file here and one entry in :data:`COMMANDS`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

import spatial_lstm
from spatial_lstm.cli import (
    build,
    check,
    inpaint,
    publish,
    read,
    ride_demo,
    sample,
    score,
    test_htr,
    trace,
    train_htr,
    train_pixelrnn,
    train_ride,
)
from spatial_lstm.cli.errors import UsageError, plain_warnings, print_anything

COMMANDS: dict[str, ModuleType] = {
    "ride": ride_demo,
    "train-ride": train_ride,
    "train-pixelrnn": train_pixelrnn,
    "score": score,
    "sample": sample,
    "inpaint": inpaint,
    "train-htr": train_htr,
    "test-htr": test_htr,
    "read": read,
    "publish": publish,
    "check": check,
    "trace": trace,
    "build": build,
}
DEFAULT = "ride"
# The extra that brings what commands import beyond the core.
EXTRAS = {
    **dict.fromkeys(("matplotlib", "sklearn", "skimage", "PIL", "tqdm"), "demo"),
    **dict.fromkeys(("defusedxml", "rapidfuzz"), "handwriting"),
    **dict.fromkeys(("huggingface_hub", "safetensors"), "hub"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, the main job where none is named, and return the exit status: 130 when interrupted, 2 when it cannot run."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="python -m spatial_lstm", description=f"The LSTM for grids. Without a command: {DEFAULT}."
    )
    parser.add_argument("--version", action="version", version=f"spatial_lstm {spatial_lstm.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, module in COMMANDS.items():
        what = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=what, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    print_anything()
    args = parser.parse_args(arguments or [DEFAULT])
    try:
        with plain_warnings(args.command):
            status: int = args.run(args)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever reads what is printed has seen enough
        sys.stdout = None
        return 1
    except (UsageError, OSError) as error:  # what the system refuses is none of the program's errors
        print(f"{args.command}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        wanted = f"pip install 'spatial-lstm[{EXTRAS[error.name]}]'"
        print(f"{args.command} needs {error.name}, which is not installed: {wanted}", file=sys.stderr)
        return 2
    return status
