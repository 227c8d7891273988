"""Who may do what at the broker: declared in one file, turned into the server's configuration."""
