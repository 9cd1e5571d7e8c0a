"""The memory ledger: `ledger_widget` is the live view, `ledger_parts` the parts of a bar,
`ledger_figure` the picture that lasts.
"""

__all__ = ["ledger_widget", "ledger_parts"]
