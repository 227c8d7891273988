"""A living fleet, watched through its broker: what is read, how often, and what that may cost."""
