"""Character language models of your own text that you can reproduce, inspect and trust."""

__version__ = "0.1.0"
