"""What serving *is*: states, policies, batching, events. Pure Python, no clock, no threads."""
