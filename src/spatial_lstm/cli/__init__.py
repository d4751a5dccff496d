"""The commands of ``python -m spatial_lstm``. A new one is one file here and one entry in :data:`COMMANDS`."""

from __future__ import annotations
