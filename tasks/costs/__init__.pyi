from .accounts import Account, Asked, Cost, account_for, add_up
from .prices import Prices, load_prices

__all__ = ["Account", "Asked", "Cost", "Prices", "account_for", "add_up", "load_prices"]
