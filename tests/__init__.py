"""The tests; run with `pytest`."""
