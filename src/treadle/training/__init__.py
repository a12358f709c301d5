"""Half B, the training service: a CreateTrainingJob request becomes a model artifact."""
