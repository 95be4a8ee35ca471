//! The only place that speaks NATS: topology, commits, lease, consumers, dead letters.
