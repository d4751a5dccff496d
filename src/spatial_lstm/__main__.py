"""``python -m spatial_lstm``."""

from spatial_lstm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
