"""The words everything else is written in: units, events, commands, reports, faults, config.

Pure: no clock, no I/O, no randomness. Nothing here imports another part of chappie.
"""
