"""The simulated venue: an exchange of its own that knows the truth and nothing of chappie."""
