"""Numbers for Prometheus: of a consumer, of a pool manager, and of the fleet as a whole."""
