"""The memory ledger: `ledger_widget` is the live view, `ledger_parts` what a bar shows,
`ledger_figure` the picture that stays.
"""

__all__ = ["ledger_widget", "ledger_parts"]
