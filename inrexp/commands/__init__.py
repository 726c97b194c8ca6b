"""The command line, and notebooks as programs."""
