"""What people are told: what is worth an alert, in which words, how often, and by which channel."""
