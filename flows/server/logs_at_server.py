"""Log lines on the pages of the Prefect UI, each with what it is about."""

import logging

from prefect.logging.handlers import APILogHandler

from pilotline.flows.screen.logs import write_message


class ToServer(APILogHandler):
    """Sends lines to the Prefect server, as text: level, time and run it keeps beside them."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        """Let our lines of information through: Prefect copies this handler, not its level."""
        super().__init__(level)
        logging.getLogger("pilotline").setLevel(logging.INFO)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return write_message(record)
