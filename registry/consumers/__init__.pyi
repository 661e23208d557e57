from .consumers import (
    Consumer,
    NewConsumer,
    add_consumer,
    broken_by,
    is_contact,
    list_consumers,
    remove_consumer,
)
from .notify import send_message
from .outbox import Delivery, Message, deliver, list_messages, messages_of, tell_consumers

__all__ = [
    "Consumer",
    "Delivery",
    "Message",
    "NewConsumer",
    "add_consumer",
    "broken_by",
    "deliver",
    "is_contact",
    "list_consumers",
    "list_messages",
    "messages_of",
    "remove_consumer",
    "send_message",
    "tell_consumers",
]
