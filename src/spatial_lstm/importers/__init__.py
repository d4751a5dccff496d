"""Layers with weights that other programs trained."""
