"""The rules of serving as pure Python: no clock, no thread, no third-party library.

Read it in this order. `status` has the error codes and the one exception of the project,
`signature` describes what a model can be asked, `signature_facts` what its graph says about that,
`shape_mistakes` names what is wrong with a tensor that does not fit, and `signature_changes` what
breaks callers when the next version has other signatures.
`versions` decides which versions serve, `batching` decides which requests run together, and
`memory` decides whether one more version fits. `fleet` decides which of several servers answers,
and how many there are. `setting_kinds` and `model_settings` declare the settings of a model once;
`remote_paths` recognises paths that are not on this machine. `events` names everything that can
happen.

The server drives these rules with real time, the simulator with virtual time, the stepper by hand.
"""

__all__ = [
    "status",
    "signature",
    "signature_facts",
    "shape_mistakes",
    "signature_changes",
    "versions",
    "batching",
    "memory",
    "fleet",
    "setting_kinds",
    "model_settings",
    "remote_paths",
    "events",
]
