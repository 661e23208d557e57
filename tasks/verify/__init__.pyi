from .verification import Verified, platform

__all__ = ["Verified", "platform"]
