"""What a person sees: progress, tables, log lines, and the options commands share."""
