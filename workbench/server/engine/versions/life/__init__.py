"""What happens to one version, from its first load attempt to the end of its process.

`loading` gets a version into a worker process. `rising` takes it from there until it serves,
`leaving` takes it out of service, `revival` replaces a worker that has died, and `renewal` reloads
a number whose folder was replaced. They have `shared` in common; `resting` delays the end of an old
process for a moment. `lifecycle` puts them together.
"""

__all__ = ["lifecycle", "loading", "shared", "renewal"]
