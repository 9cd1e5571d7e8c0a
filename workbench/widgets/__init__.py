"""ipywidgets views of servers and experiments."""
