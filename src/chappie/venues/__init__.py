"""Venue dialects: everything that only one exchange does, behind one small interface. Pure."""
