"""Commands that run a flow."""
