"""Many seeds over many cores, and the report."""
