"""`ternion serve` of configs/demo on four ranks of this machine, for the tools beside this file, which set `program`."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
MODEL = "configs/demo"
program = ""  # the built one


def expect(condition, what):
    if not condition:
        raise AssertionError(str(what)[:600])


def environment(more=()):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TERNION_")}
    return {**kept, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **dict(more)}


def run(*arguments, more=(), status=0, limit=120):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, cwd=SOURCE, env=environment(more), timeout=limit)
    expect(done.returncode == status, f"status {done.returncode}: {done.stdout}{done.stderr}")
    return done


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`ternion serve` of the demo on four ranks, as README starts it, but for the port."""

    def __init__(self, *options, mpirun=(), more=(), ranks=4, grid=("--tp", "2", "--pp", "2"), model=MODEL):
        self.port = free_port()
        self.log = tempfile.TemporaryFile("w+")
        command = ["mpirun", *mpirun, "-np", str(ranks), "--bind-to", "none", "--oversubscribe", program, "serve", str(model),
                   *grid, "--device", "cpu", "--threads", "1", "--port", str(self.port), *options]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=SOURCE, env=environment(more))
        end = time.monotonic() + 60
        while "serving " not in self.text():
            expect(self.process.poll() is None and time.monotonic() < end, self.text())
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for rank in range(4):
            self.signal(rank, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def signal(self, rank, number):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                parent = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            if parent == self.process.pid and f"OMPI_COMM_WORLD_RANK={rank}".encode() in variables:
                os.kill(int(pid), number)

    def request(self, method, target, body=None, headers=(), limit=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=limit)
        connection.request(method, target, None if body is None else json.dumps(body), dict(headers))
        answer = connection.getresponse()
        answer.text = answer.read().decode()
        connection.close()
        return answer

    def post(self, target="/v1/completions", status=200, headers=(), **body):
        answer = self.request("POST", target, {"model": "demo", **body}, headers)
        expect(answer.status == status, f"{answer.status} {answer.text}")
        return json.loads(answer.text)

    def raw(self, request, limit=60):
        """The answer's status to these bytes, and whether the server then ends the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit) as connection:
            connection.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                got = connection.recv(65536)
                if not got:
                    break
                answer += got
            connection.settimeout(2)
            try:
                while connection.recv(65536):
                    pass
                ended = True
            except OSError:
                ended = False
            return int(answer.split()[1]) if answer else 0, ended


class Stream(threading.Thread):
    """A completion of many tokens, read as it comes; begun when the constructor returns."""

    def __init__(self, server, tokens=600, **more):
        super().__init__(daemon=True)
        self.lines, self.ended_at, self.first = [], None, threading.Event()
        self.server, self.body = server, {"model": "demo", "prompt": "The", "max_tokens": tokens, "ignore_eos": True,
                                          "stream": True, **more}
        self.start()
        expect(self.first.wait(30), "a token comes")

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request("POST", "/v1/completions", json.dumps(self.body))
        answer = connection.getresponse()
        self.status = answer.status
        for line in answer:
            if line.startswith(b"data: "):
                self.lines.append(line[6:].decode().strip())
                self.first.set()
        self.ended_at = time.monotonic()
        self.first.set()

    def error(self):
        self.join(60)
        chunks = [json.loads(line) for line in self.lines if line.startswith("{")]
        return next((chunk["error"] for chunk in chunks if "error" in chunk), None)

    def whole(self):
        self.join(60)
        return self.lines and self.lines[-1] == "[DONE]" and self.error() is None


def write(folder, name, text):
    path = pathlib.Path(folder) / name
    path.write_text(text)
    return str(path)


def make_certificate(folder, name):
    key, certificate = f"{folder}/{name}.key", f"{folder}/{name}.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", f"/CN={name}", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key
