"""Who can say what an operation is: OpenAPI descriptions, and steps that spell their request out."""
