"""The ensemble that tests start: the same as that of the demonstration of a cluster."""

from __future__ import annotations

from devices.ensemble import Ensemble, Server, free_ports, missing_parts

__all__ = ["Ensemble", "Server", "free_ports", "missing_parts"]
