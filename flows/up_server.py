"""The process of the factory's Prefect server, with its UI; it ends when its parent does."""

import sys

from flows.serving import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]), "warning")
