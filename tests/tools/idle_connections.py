#!/usr/bin/env python3
"""Opens many idle connections to a running server and tells what each costs its memory.

    ulimit -n 20000  # here, and where the server is started
    build/ternion serve configs/demo --host 127.0.0.1 &
    tests/tools/idle_connections.py --port 8000 --pid $!

With --tls they speak TLS; the server's certificate is not checked.

Every connection asks for /health once, so that it has gone through a request, and then stays idle. While they stand, a
request of another client is timed. Exits with 1 when the server's resident memory grew by --limit-mb or more, when it
did not take every connection, or when the other client was not served.
"""

import argparse
import http.client
import json
import socket
import ssl
import sys
import time


def resident_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def complete(host, port, tls):
    """Seconds that one short completion took."""
    begun = time.monotonic()
    if tls is None:
        connection = http.client.HTTPConnection(host, port, timeout=60)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=60, context=tls)
    connection.request("POST", "/v1/completions", json.dumps({"prompt": "A mutex is", "max_tokens": 4}))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the completion got {answer.status}")
    return time.monotonic() - begun


def open_idle(host, port, tls):
    connection = socket.create_connection((host, port), timeout=60)
    if tls is not None:
        connection = tls.wrap_socket(connection, server_hostname=host)
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n")
    if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
        raise RuntimeError("/health is not 200")
    return connection


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--pid", type=int, required=True, help="of the server: rank 0")
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--limit-mb", type=float, default=100)
    parser.add_argument("--tls", action="store_true", help="speak TLS")
    arguments = parser.parse_args()
    tls = None
    if arguments.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE

    complete(arguments.host, arguments.port, tls)  # what the first request allocates is no connection's
    before = resident_kb(arguments.pid)
    alone = complete(arguments.host, arguments.port, tls)
    idle = [open_idle(arguments.host, arguments.port, tls) for _ in range(arguments.connections)]
    grown = resident_kb(arguments.pid) - before
    among = complete(arguments.host, arguments.port, tls)
    closed = 0
    for connection in idle:
        connection.setblocking(False)
        try:
            closed += connection.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
    print(f"{len(idle)} idle connections: resident memory +{grown / 1024:.1f} MB, "
          f"{grown * 1024 / len(idle):.0f} bytes each; {closed} were closed meanwhile")
    print(f"a completion took {alone * 1000:.0f} ms without them, {among * 1000:.0f} ms among them")
    return 1 if grown / 1024 >= arguments.limit_mb or closed else 0


if __name__ == "__main__":
    sys.exit(main())
