"""The pictures of the pages *Understand* and of the README: ``python -m docs.drawing`` in a clone writes them into ``docs/pictures``."""
