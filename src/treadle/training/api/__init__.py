"""The AWS APIs that the service answers: operations bound to the service, and the app that composes them."""
