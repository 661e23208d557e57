"""The process of a temporary Prefect server: it ends when its standard input closes."""

import os
import sys

from flows.serving import serve

if __name__ == "__main__":
    # Prefect reads these when it is imported: no UI to build.
    os.environ["PREFECT_UI_ENABLED"] = "0"
    os.environ["PREFECT__SERVER_EPHEMERAL"] = "1"
    serve(int(sys.argv[1]), "error")
