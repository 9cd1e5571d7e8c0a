"""Keeping the loaded versions in line with the wanted ones.

`source` lists the versions in a folder, `version_folder` reads one of them. A `model` has versions,
and a `directory` has all models. `watch` looks at the folders, `decisions` decides what to do, and
`life` does it. `setting_aside` and `parking` deal with versions that fail and with their requests.
The `manager` puts all of this together.
"""

__all__ = ["source", "version_folder", "model", "manager", "life"]
