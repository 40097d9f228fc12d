"""From an encoded image to its labels: score maps that are read by rows, and decided in strips."""
