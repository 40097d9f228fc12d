"""What a light training on frozen features learns: contexts, adapters, rows."""
