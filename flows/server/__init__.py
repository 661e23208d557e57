"""Prefect servers and the processes beside them: which one is used, asked, started, ended."""
