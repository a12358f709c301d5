"""Who is told about a run while it goes on: a terminal, a log, a program that reads JSON lines."""
