"""What every server of a fleet serves: a plan, without any engine in it.

`plan` is the record: models, versions, labels, batching, transition, memory, number of servers.
`plan_sources` makes one from a running server or from a folder. `plan_differences` compares a plan
with what a server reports. `plan_files` keeps it.
"""

__all__ = ["plan", "plan_sources", "plan_differences", "plan_files"]
