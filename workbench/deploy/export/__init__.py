"""Writes a fleet's plan as files for engines that exist; nothing here imports one of them.

`export_folder` writes all of them. `serving_export` is the plan in the form that the others read:
paths inside containers, names, images. `tf_serving` makes the files and flags of one server, and
`not_expressed` lists what these cannot say. `compose` runs servers on one machine. `clusters` has
the manifests for Kubernetes, KServe and KubeRay, `monitoring` the scrape jobs, rules and dashboard.
`folder_readme` says which command comes next. `yaml_text` writes YAML with comments.
"""

__all__ = ["export_folder", "export_options"]
