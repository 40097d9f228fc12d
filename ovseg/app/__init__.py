"""The web page: what it computes apart from what gradio shows."""
