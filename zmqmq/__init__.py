"""zmqmq: a durable message queue over ZeroMQ and SQLite."""
