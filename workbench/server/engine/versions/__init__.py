"""Bringing the loaded versions in line with the wanted ones.

`source` watches a folder of versions, `version_folder` reads one of them. A `model` is what is
managed. The `manager` decides, `lifecycle` carries out, and `loading` gets a version into a worker.
`renewal` reloads replaced folders, `resting` lets an old version rest before it ends;
`setting_aside`, `outages` and `parking` deal with versions that fail.
"""

__all__ = ["source", "version_folder", "model", "manager", "lifecycle", "loading"]
