"""Trained models as folders that the Hugging Face Hub knows: written, opened, pushed. Needs the extra ``hub``.

A network of one's own that holds a :class:`~spatial_lstm.SpatialLSTM` needs nothing from here: ``huggingface_hub.PyTorchModelHubMixin``
saves and loads it.
"""

from __future__ import annotations

from spatial_lstm.hub.opening import load_pretrained
from spatial_lstm.hub.publishing import push, save_pretrained

__all__ = ["load_pretrained", "push", "save_pretrained"]
