"""Where runs and training jobs are kept."""
