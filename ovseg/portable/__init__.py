"""Models as programs for other runtimes, with the words as an input; features and rows as files."""
