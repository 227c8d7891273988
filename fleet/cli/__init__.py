"""The command line: one file a noun, each imported only when it is called."""
