"""Models and stories for teaching; may import TensorFlow.

`digits` are two small models, `demo` shows a model's whole life in a terminal, `labs` lists the lab
notebooks. `faults` breaks a server on purpose (a `caused_fault`, often of one of its
`server_processes`).
"""

__all__ = ["digits", "demo", "labs", "faults", "server_processes"]
