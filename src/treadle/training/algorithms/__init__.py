"""Built-in training algorithms, each a `train` program under the container contract."""
