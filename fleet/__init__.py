"""The core: jobs, broker, producers, command line. It knows no GPU and no terminal screen."""
