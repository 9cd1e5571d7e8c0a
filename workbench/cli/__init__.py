"""The `workbench` command: `main` is its entry, every other module a group of sub-commands."""

__all__ = ["main"]
