"""chappie: runs a trading policy with real money while its owner sleeps."""

__version__ = "0.1.0"
