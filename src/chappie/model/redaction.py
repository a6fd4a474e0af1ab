"""What stands where a secret stood.

The shell puts it in place of our key and secret in everything that arrives, before the journal
and the core see it (control K10).
"""

REDACTED = "***"
