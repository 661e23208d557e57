"""A release's gates: the evidence, the form, waiting for a decision and waking up for one."""
