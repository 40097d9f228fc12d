"""Images on their way to a network: where windows lie, and cutting them out."""
