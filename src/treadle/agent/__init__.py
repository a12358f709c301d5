"""The program that runs on the training host, one per host: stage inputs, run, watch, upload, report."""
