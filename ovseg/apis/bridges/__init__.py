"""Results in the forms of other libraries and tools: one file a form."""
