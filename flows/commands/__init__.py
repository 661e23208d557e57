"""The command line: a file for each command, its declaration and what it does."""
