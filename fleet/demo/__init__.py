"""The demonstration: a small fleet, a batch, two interruptions, and an audit of what came of it."""
