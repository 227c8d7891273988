"""The core: jobs, broker, producers and the command line. It knows no GPU and no terminal screen."""
