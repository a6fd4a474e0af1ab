"""The exception for our own bugs: something that cannot be, was."""


class InvariantViolated(Exception):
    """A promise of ours does not hold. The process stops with ``invariant_violated``."""
