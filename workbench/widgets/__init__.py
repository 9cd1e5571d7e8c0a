"""Live views of a server in a notebook.

`base` is what they share. `card_widget`, `ledger` and `timeline` show a running server;
`sweep_explorer`, `transitions` and `comparison` show experiments; `stepper` and `guess` are for
teaching.
"""

__all__ = [
    "base",
    "card_widget",
    "ledger",
    "timeline",
    "sweep_explorer",
    "transitions",
    "comparison",
    "stepper",
    "guess",
]
