"""The `workbench` command. `main` is its entry.

Each sub-command is a file with a function `add`, which adds it to the parser; each folder lists its
commands: `servers`, `experiments`, `deploy`, `labs` and `model_server`. `arguments` has what
several of them take.
"""

__all__ = ["main"]
