"""Half A, the workflow engine: an Arazzo description becomes a run. It meets the world through `treadle.seams`."""
