"""The one place that says which version of zmqmq this is; `setup.py` and `zmqmq --version` read it here."""

VERSION = "0.1.0"
"""Semantic version: the second number grows with features, the third with corrections."""
