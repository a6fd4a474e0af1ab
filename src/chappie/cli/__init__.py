"""The command line: every command, the configuration in its layers, the live view."""
