"""The guardian: starts and watches the trader, cancels what it leaves, serves the operator."""
