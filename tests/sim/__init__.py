"""Brokers with their clients, in one process, in one thread, from one seed: see `tests.sim.world`."""
