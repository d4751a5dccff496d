"""Programs that one reads in a sitting; each says at its top how to run it."""
