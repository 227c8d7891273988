"""The door to NATS: everything that speaks JetStream."""
