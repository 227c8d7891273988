"""Brings the real engine and small models onto a machine: `python -m consumers.setup`."""
