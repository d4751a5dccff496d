"""How a layer is computed."""
