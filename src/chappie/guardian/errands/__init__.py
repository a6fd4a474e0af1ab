"""What the guardian does at the venue by itself, pure: reads, cancels and one closing order."""
