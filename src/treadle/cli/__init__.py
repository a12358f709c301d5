"""Parse arguments, choose implementations, call, print."""
