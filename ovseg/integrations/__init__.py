"""ovseg inside annotation tools: a project's label list is the vocabulary. One file a tool."""
