"""The AWS wire, used by a client (`treadle.sources`) and by a server (`treadle.training`)."""
