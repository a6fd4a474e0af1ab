"""The built-in policies: a view in, a target out."""
