"""Command lines: what they say is read here, what they do stands in the packages below."""
