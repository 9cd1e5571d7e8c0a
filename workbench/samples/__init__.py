"""Models and stories for teaching; may import TensorFlow.

`digits` are two small models, `demo` shows a model's whole life in a terminal, `labs` lists the lab
notebooks. `train_example` writes the model that `workbench lab` serves. `faults` breaks a server on
purpose (a `caused_fault`, often of one of its `server_processes`).
"""

__all__ = ["digits", "demo", "labs", "train_example", "faults", "server_processes"]
