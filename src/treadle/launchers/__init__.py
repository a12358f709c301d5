"""Where hosts run: each launcher places `python -m treadle.agent` somewhere and can find it again."""
