"""How the training program is isolated on its host. Empty: `entrance` is imported before anything else."""
