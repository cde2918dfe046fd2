"""What zmqmq costs and how fast it is: `bench` for throughput and latency, `footprint` for memory, start-up and idling."""
