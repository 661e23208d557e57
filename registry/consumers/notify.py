"""Sending one message by Apprise: mail, web hooks, chat."""

import logging


def send_message(address: str, title: str, body: str) -> str:
    """Send one message and return what went wrong, or nothing.

    The address may hold a secret: neither it nor what Apprise says of it is passed on.
    """
    from apprise import Apprise

    apprise = Apprise()
    if not apprise.add(address):
        return "the contact is no address that Apprise knows"
    log = logging.getLogger("apprise")
    level, log_propagates = log.level, log.propagate
    log.setLevel(logging.CRITICAL)  # its warnings print addresses
    log.propagate = False
    try:
        sent = apprise.notify(title=title, body=body)
    except Exception as err:  # a plug-in may raise anything; one contact must not stop the others
        return f"sending failed ({type(err).__name__})"
    finally:
        log.setLevel(level)
        log.propagate = log_propagates
    return "" if sent else "the other side did not take it"
