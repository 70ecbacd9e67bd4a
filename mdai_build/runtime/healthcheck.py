"""The image's HEALTHCHECK: exits 0 when the server answers ``/healthz``, else 1. The standard library is enough."""

import os
import socket
import sys

_SECONDS = 3.0


def main() -> int:
    """Asks the server on the port of ``MDAI_PORT``."""
    host = os.environ.get("MDAI_HOST", "")
    if host in ("", "0.0.0.0", "::"):
        host = "127.0.0.1"
    try:
        port = int(os.environ.get("MDAI_PORT", "") or 6324)
        with socket.create_connection((host, port), _SECONDS) as connection:
            connection.settimeout(_SECONDS)
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = connection.recv(64)
    except (OSError, ValueError) as error:
        print(error)
        return 1
    print(answer.split(b"\r\n")[0].decode("latin-1"))
    return 0 if answer.split()[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
