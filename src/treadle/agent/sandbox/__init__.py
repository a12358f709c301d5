"""How the training program is isolated on its host."""
