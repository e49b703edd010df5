#!/usr/bin/env python3
"""Runs what README.md says about operating Ternion, sentence by sentence, against servers of configs/demo on this machine.

    tests/tools/readme_claims.py build/ternion [--only WORD]

Prints `ok` or `FAIL` for every claim, in README's order, and exits with 1 when one has failed. Takes some minutes; needs mpirun,
openssl and the ports that it finds free. What it leaves out: chats' templates, penalties and seeds over grids (tests/runtime),
GPUs, hosts beyond this one.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import demo_server
from demo_server import MODEL, SOURCE, Server, Stream, environment, expect, free_port, make_certificate, run, write

CLAIMS = []


def claim(text):
    def add(function):
        CLAIMS.append((text, function))
        return function

    return add


# Use it


@claim("generate streams a text to the terminal; everything else goes to stderr")
def _():
    done = run("generate", MODEL, "--prompt", "The std::vector class template", "--max-tokens", "12")
    expect(len(done.stdout.strip()) > 10 and "tokens/s" in done.stderr, done)


@claim("the README's curl gets a stream of events that ends with [DONE]")
def _():
    with Server() as server:
        readme = (SOURCE / "README.md").read_text()
        command = re.search(r"    (curl -N localhost:8000.*?\n.*?}')", readme, re.S).group(1)
        done = subprocess.run(command.replace("8000", str(server.port)), shell=True, capture_output=True, text=True, timeout=60)
        events = [line for line in done.stdout.splitlines() if line.startswith("data: ")]
        expect(len(events) > 10 and events[-1] == "data: [DONE]", done.stdout[-300:] + done.stderr)


@claim("the number of ranks is tp x pp, anything else is refused with status 2")
def _():
    done = run("generate", MODEL, "--prompt", "x", "--tp", "2", status=2)
    expect("2" in done.stderr and done.stderr.count("\n") == 1, done.stderr)


@claim("every command of the table has --help, and serve has every option of the options' table")
def _():
    readme = (SOURCE / "README.md").read_text()
    for command in re.findall(r"^\| `ternion ([a-z ]+)", readme, re.M):
        run(*command.split(), "--help")
    told = run("serve", "--help").stdout
    table = readme[readme.index("| option | values |"):readme.index("The server answers")]
    for option in re.findall(r"(--[a-z][a-z-]+)", table):
        expect(option in told, option)


@claim("a flag comes before the environment, the environment before the file")
def _():
    with tempfile.TemporaryDirectory() as folder:
        generate = ["generate", MODEL, "--prompt", "A", "--ignore-eos", "--json", "--config",
                    write(folder, "o.toml", "max-tokens = 5\n")]
        count = lambda done: len(json.loads(done.stdout)["ids"])
        expect(count(run(*generate)) == 5, "the file")
        expect(count(run(*generate, more={"TERNION_MAX_TOKENS": "4"})) == 4, "the environment")
        expect(count(run(*generate, "--max-tokens", "3", more={"TERNION_MAX_TOKENS": "4"})) == 3, "the flag")


@claim("the server answers every route that is listed")
def _():
    with Server() as server:
        server.post(prompt="A", max_tokens=2)
        server.post("/v1/chat/completions", messages=[{"role": "user", "content": "A"}], max_tokens=2)
        tokens = server.post("/tokenize", prompt="A mutex")
        expect(set(tokens) >= {"count", "max_model_len", "tokens"} and tokens["count"] == len(tokens["tokens"]), tokens)
        expect(server.post("/detokenize", tokens=tokens["tokens"])["prompt"].endswith("A mutex"), "the text")
        expect(server.post("/tokenize", messages=[{"role": "user", "content": "A"}], add_generation_prompt=True)["count"] > 2, "a chat")
        for route in ("/v1/models", "/health", "/version", "/metrics", "/status", "/"):
            expect(server.request("GET", route).status == 200, route)
        expect(server.request("POST", "/drain").status < 300, "/drain")
        expect(server.process.wait(30) == 0, server.text())


def expect_drain(begin):
    with Server() as server:
        stream = Stream(server, 300)
        begin(server)
        time.sleep(0.2)
        health = server.request("GET", "/health")
        expect(health.status == 503, health.status)
        expect(server.request("POST", "/v1/completions", {"prompt": "A", "max_tokens": 1}).status == 503, "a new request")
        status = json.loads(server.request("GET", "/status").text)
        expect(status["ready"] is False and status["reason"], status)
        expect(stream.whole(), stream.lines[-2:])
        expect(server.process.wait(30) == 0, server.text())


for NAME in ("SIGTERM", "SIGINT", "SIGUSR1"):
    CLAIMS.append((f"{NAME} to rank 0 drains: 503s, running requests finish, status 0, and /status answers meanwhile",
                   lambda name=NAME: expect_drain(lambda server: server.signal(0, getattr(signal, name)))))


@claim("POST /drain drains, with a key where the server has keys, and not from a page of another origin")
def _():
    expect_drain(lambda server: server.request("POST", "/drain"))
    with Server("--api-key", "k") as server:
        expect(server.request("POST", "/drain").status == 401, "without the key")
        headers = {"Authorization": "Bearer k", "Origin": "https://elsewhere.example"}
        expect(server.request("POST", "/drain", headers=headers).status == 403, "another origin")
        expect(server.request("GET", "/health").status == 200, "still there")


@claim("running requests finish within --drain-timeout; a second signal does not wait for them")
def _():
    with Server("--drain-timeout", "1") as server:
        Stream(server, 1500)
        begun = time.monotonic()
        server.signal(0, signal.SIGTERM)
        server.process.wait(30)
        expect(time.monotonic() - begun < 8, "the limit")
    with Server() as server:
        Stream(server, 1500)
        server.signal(0, signal.SIGTERM)
        time.sleep(0.2)
        begun = time.monotonic()
        server.signal(0, signal.SIGTERM)
        server.process.wait(30)
        expect(time.monotonic() - begun < 8, "the second signal")


def expect_loss(number):
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/status"
        with Server("--max-sequences", "1", mpirun=["--enable-recovery"], more={"TERNION_EXIT_STATUS_FILE": file}) as server:
            stream, waiting = Stream(server, 1500), []
            wait = threading.Thread(target=lambda: waiting.append(server.request("POST", "/v1/completions", {"prompt": "A"})))
            wait.start()
            time.sleep(0.3)
            begun = time.monotonic()
            server.signal(3, number)
            names = "rank 3 on " + socket.gethostname()
            error = stream.error()
            expect(error and error["code"] == "rank_lost" and names in error["message"], error)
            wait.join(20)
            health = server.request("GET", "/health")
            for answer in (waiting[0], health, server.request("POST", "/v1/completions", {"prompt": "A"})):
                told = json.loads(answer.text)["error"]
                expect(answer.status == 503 and told["code"] == "rank_lost" and names in told["message"], answer.text)
            server.process.wait(30)
            expect(time.monotonic() - begun < 10, f"{time.monotonic() - begun} s")
            expect(pathlib.Path(file).read_text().strip() == "4", "the status")


@claim("a killed rank: an error event, 503s that name rank and host, all gone with status 4 within --rank-timeout")
def _():
    expect_loss(signal.SIGKILL)


@claim("a stopped rank: the same")
def _():
    expect_loss(signal.SIGSTOP)


@claim("without --enable-recovery mpirun ends all ranks soon after one has died")
def _():
    with Server() as server:
        begun = time.monotonic()
        server.signal(3, signal.SIGKILL)
        expect(server.process.wait(30) != 0 and time.monotonic() - begun < 6, time.monotonic() - begun)


def handshake(port, **versions):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, context.wrap_socket(plain) as wrapped:
        return wrapped.version(), wrapped.getpeercert(binary_form=True)


@claim("TLS 1.2 and 1.3; SIGHUP reads the files again; a pair that does not fit is a line, and the old one stays")
def _():
    with tempfile.TemporaryDirectory() as folder:
        first, second = make_certificate(folder, "first"), make_certificate(folder, "second")
        certificate, key = f"{folder}/c.pem", f"{folder}/k.pem"
        shutil.copy(first[0], certificate), shutil.copy(first[1], key)
        with Server("--tls-cert", certificate, "--tls-key", key) as server:
            version, shown = handshake(server.port)
            expect(version == "TLSv1.3", version)
            expect(handshake(server.port, maximum_version=ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2", "1.2")
            shutil.copy(second[0], certificate)
            server.signal(0, signal.SIGHUP)
            time.sleep(1)
            expect(handshake(server.port)[1] == shown, "a pair that does not fit")
            expect("SIGHUP: nothing was changed" in server.text(), server.text())
            shutil.copy(second[1], key)
            server.signal(0, signal.SIGHUP)
            time.sleep(1)
            expect(handshake(server.port)[1] not in (shown, None), "the new pair")


@claim("requests are read strictly: 400, 414, 431, 413, 408, each ends the connection")
def _():
    post = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
    get = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    with Server("--max-body-bytes", "1000") as server:
        for status, request in {
                "several lengths": (400, post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
                "a folded line": (400, get + b"A: b\r\n c\r\n\r\n"),
                "bare line feeds": (400, b"GET /health HTTP/1.1\nHost: x\n\n"),
                "a long request line": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
                "a long header": (431, get + b"A: " + b"b" * 17000 + b"\r\n\r\n"),
                "many fields": (431, get + b"".join(b"A%d: b\r\n" % i for i in range(129)) + b"\r\n"),
                "a long body": (413, post + b"Content-Length: 1001\r\n\r\n" + b" " * 1001),
                "a slow request": (408, post + b"Content-Length: 10\r\n\r\n{"),
        }.values():
            expect(server.raw(request) == (status, True), f"{request[:60]}: {server.raw(request)} instead of {status}")
        expect(server.raw(get + b"\r\n") == (200, False), "a sound request keeps its connection")


@claim("above --max-connections clients get a 503")
def _():
    with Server("--max-connections", "3") as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        time.sleep(0.3)
        expect(server.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")[0] == 503, "the fourth")
        del held


@claim("browsers may use the server from the pages that --cors-origin names, and from no other")
def _():
    allowed = "Access-Control-Allow-Origin"
    with Server("--cors-origin", "https://a.example") as server:
        expect(server.request("GET", "/health", headers={"Origin": "https://a.example"}).getheader(allowed) == "https://a.example", "a")
        expect(server.request("GET", "/health", headers={"Origin": "https://b.example"}).getheader(allowed) is None, "b")
    with Server() as server:
        expect(server.request("GET", "/health", headers={"Origin": "https://a.example"}).getheader(allowed) is None, "by default")


@claim("a full queue and a long wait are 429 with Retry-After")
def _():
    for options in (("--max-queue", "1"), ("--max-queue-time", "1")):
        with Server("--max-sequences", "1", *options) as server:
            Stream(server, 1900)
            answers = []
            ask = lambda: answers.append(server.request("POST", "/v1/completions", {"prompt": "A", "max_tokens": 1}))
            threads = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            refused = [answer for answer in answers if answer.status == 429]
            expect(refused, [answer.status for answer in answers])
            expect(all(int(answer.getheader("Retry-After")) > 0 for answer in refused), "Retry-After")


@claim("a client that reads too slowly is dropped, and its request cancelled")
def _():
    with Server("--max-buffered-bytes", "16384", "--max-sequences", "64") as server:
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.port))
        body = json.dumps({"prompt": "The", "max_tokens": 1900, "n": 8, "logprobs": 20, "ignore_eos": True, "stream": True}).encode()
        slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        end = time.monotonic() + 90
        while not re.search(r'finished_reason="(abort|cancelled)"[^}]*} [1-9]', server.request("GET", "/metrics").text):
            expect(time.monotonic() < end, "cancelled")
            time.sleep(0.5)
        expect(json.loads(server.request("GET", "/status").text)["requests"]["running"] == 0, "nothing runs on")


@claim("/metrics has vLLM's names, and Ternion's own; it needs a key where the server has keys, unless --metrics-open")
def _():
    with Server("--api-key", "k") as server:
        key = {"Authorization": "Bearer k"}
        server.post(prompt="A", max_tokens=20, ignore_eos=True, headers=key)
        expect(server.request("GET", "/metrics").status == 401, "without the key")
        time.sleep(1.5)  # what other ranks have counted comes once a second
        text = server.request("GET", "/metrics", headers=key).text
        for name in ("vllm:num_requests_running{", "vllm:time_to_first_token_seconds_bucket{", 'ternion:step_seconds_bucket{phase="run"',
                     'ternion:wire_bytes_total{kind="reduce"', 'ternion:rank_last_heartbeat_seconds{rank="3"}', "ternion:info{"):
            expect("\n" + name in text, name)
        skipped = float(re.search(r"\nternion:weights_skipped_ratio (\S+)", text).group(1))
        expect(0.2 < skipped < 1, skipped)
    with Server("--api-key", "k", "--metrics-open") as server:
        expect(server.request("GET", "/metrics").status == 200, "open")
    json.loads((SOURCE / "configs/grafana/ternion.json").read_text())


@claim("/ is open to everybody; /status needs the key and has the fields of the table")
def _():
    with Server("--api-key", "k") as server:
        page = server.request("GET", "/")
        expect(page.status == 200 and not re.search(r"""(src|href|url)\s*[=(]\s*["']?https?:""", page.text), "no external files")
        expect(server.request("GET", "/status").status == 401, "without the key")
        status = json.loads(server.request("GET", "/status", headers={"Authorization": "Bearer k"}).text)
        table = re.search(r"\| field \| what it tells \|\n.*?\n\n", (SOURCE / "README.md").read_text(), re.S).group(0)
        for row in table.strip().splitlines()[2:]:
            for field in re.findall(r"`(\w+)`", row.split("|")[1]):
                expect(field in status, field)
        expect({"running", "waiting"} <= set(status["requests"]) and {"blocks", "used_blocks", "block_tokens"} <= set(status["kv"]), status)
        expect({"prompt", "generated"} <= set(status["tokens"]), status)
        for rank in status["ranks"]:
            expect({"rank", "host", "device", "threads", "first_layer", "layers", "weight_bytes", "kv_bytes", "resident_bytes", "up",
                    "seconds_since_heard"} <= set(rank), rank)


@claim("--trace writes Chrome's trace format: serve, generate, bench steps")
def _():
    with tempfile.TemporaryDirectory() as folder:
        with Server("--trace", f"{folder}/serve") as server:
            server.post(prompt="A", max_tokens=4)
            server.signal(0, signal.SIGTERM)
            expect(server.process.wait(30) == 0, server.text())
        run("generate", MODEL, "--prompt", "A", "--max-tokens", "4", "--trace", f"{folder}/generate")
        run("bench", "steps", MODEL, "--trace", f"{folder}/steps", limit=300)
        for name in ("serve", "generate", "steps"):
            events = json.loads(pathlib.Path(folder, name).read_text())
            expect(len(events["traceEvents"] if isinstance(events, dict) else events) > 10, name)


@claim("every request parameter is taken; what cannot be done is refused by its name")
def _():
    completion = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "seed": 1, "n": 2, "repetition_penalty": 1.1,
                  "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {"7": 2}, "min_tokens": 2, "stop": ["zzz"],
                  "stop_token_ids": [5], "ignore_eos": True, "logprobs": 20, "priority": 1, "echo": True}
    with Server() as server:
        for name, value in completion.items():
            server.post(prompt="A", **{"max_tokens": 4, name: value})
        for prompt in ("A", [1, 2], ["A", "B"], [[1, 2], [3]]):
            server.post(prompt=prompt, max_tokens=2)
        chat = {"messages": [{"role": "user", "content": "A"}], "target": "/v1/chat/completions"}
        server.post(max_completion_tokens=2, logprobs=True, top_logprobs=20, **chat)
        for name, value in {"temperature": -1, "top_p": 2, "n": 0, "logprobs": 21, "stop": [1], "max_tokens": -1}.items():
            expect(server.post(status=400, prompt="A", **{name: value})["error"]["param"] == name, name)
        echo = server.post(prompt="A mutex is", echo=True, logprobs=0, max_tokens=0)["choices"][0]
        expect(len(echo["logprobs"]["tokens"]) > 2 and echo["text"] == "A mutex is", echo)
        draw = lambda: server.post(prompt="A", seed=7, temperature=1, max_tokens=16)["choices"][0]["text"]
        expect(draw() == draw(), "the same seed")


@claim("constrained answers are JSON of the schema; other keywords are refused by their path; guided_choice is one of the texts")
def _():
    schema = {"type": "object", "properties": {"b": {"type": "integer", "minimum": 3, "maximum": 5}, "a": {"enum": ["x", "yy"]}},
              "required": ["b", "a"]}
    form = lambda schema: {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    with Server() as server:
        for more in ({"response_format": form(schema)}, {"guided_json": schema}):
            choice = server.post(prompt="A", max_tokens=60, **more)["choices"][0]
            value = json.loads(choice["text"])
            expect(list(value) == ["b", "a"] and 3 <= value["b"] <= 5 and value["a"] in ("x", "yy"), choice)
        cut = server.post(prompt="A", max_tokens=2, response_format={"type": "json_object"})["choices"][0]
        expect(cut["finish_reason"] == "length", cut)
        expect(server.post(prompt="A", max_tokens=20, guided_choice=["yes", "no"])["choices"][0]["text"] in ("yes", "no"), "a choice")
        bad = server.post(status=400, prompt="A", response_format=form({"type": "object", "properties": {"a": {"pattern": "x"}}}))
        expect("response_format.json_schema.schema.properties.a.pattern" in json.dumps(bad), bad)
        large = server.post(status=400, prompt="A", guided_json={"enum": ["x" * (129 << 10)]})
        expect("131072" in large["error"]["message"], large)


@claim("a chat template that cannot be parsed is a warning at start, and chats are refused with its line and column")
def _():
    with tempfile.TemporaryDirectory() as folder:
        for file in (SOURCE / MODEL).iterdir():
            os.symlink(file, f"{folder}/{file.name}")
        pathlib.Path(folder, "chat_template.jinja").unlink(missing_ok=True)
        pathlib.Path(folder, "chat_template.jinja").write_text("{% if %}\n")
        with Server("--served-model-name", "demo", model=folder) as server:
            expect("chat_template.jinja" in server.text(), server.text())
            error = server.post("/v1/chat/completions", status=400, messages=[{"role": "user", "content": "A"}])["error"]
            expect(re.search(r"line 1|:1:\d", error["message"]), error)


@claim("exit status: 1 failed while running, 2 wrong arguments, 3 the model cannot be loaded")
def _():
    run("generate", MODEL, "--prompt", "A", "--max-tokens", "2", "--trace", "/dev/full", status=1)
    run("serve", MODEL, "--tp", "none", status=2)
    run("serve", "/nowhere", status=3)


# Several hosts


def cluster(folder, top="", serve=""):
    return write(folder, "cluster.toml", f'{top}directory = "{SOURCE}"\noversubscribe = true\n[[host]]\nname = "localhost"\nslots = 4\n'
                f'[serve]\nmodel = "{MODEL}"\ntp = 2\npp = 2\nthreads = 1\ndevice = "cpu"\nport = {free_port()}\n{serve}')


@claim("the README's cluster file is understood; --dry-run shows the command, without the values of secrets")
def _():
    block = re.search(r'\n(    interface = .*?    pp = 2\n)', (SOURCE / "README.md").read_text(), re.S).group(1)
    with tempfile.TemporaryDirectory() as folder:
        file = write(folder, "cluster.toml", re.sub(r"^    ", "", block, flags=re.M))
        done = subprocess.run([demo_server.program, "launch", file, "--dry-run"], capture_output=True, text=True,
                              env={**environment(), "TERNION_API_KEY": "hidden-value"})
        expect(done.returncode == 0 and "mpirun --enable-recovery" in done.stdout, done)
        for part in ("-np 8", "node1:4,node2:4", "10.0.0.0/24", "-x TERNION_API_KEY", "/models/bitnet", "--tp=4"):
            expect(part in done.stdout, f"{part}: {done.stdout}")
        expect("hidden-value" not in done.stdout + done.stderr, "the secret")


@claim("what is not known in a cluster file is refused by file and line")
def _():
    with tempfile.TemporaryDirectory() as folder:
        done = run("launch", cluster(folder, serve="nonsense = 1\n"), "--dry-run", status=2)
        expect(re.search(r"cluster\.toml:\d+: .*nonsense", done.stderr), done.stderr)


@claim("--check shows a table of what every host says")
def _():
    with tempfile.TemporaryDirectory() as folder:
        done = run("launch", cluster(folder), "--check")
        expect(re.search(r"localhost +0-3 .*ok", done.stderr), done.stderr)


@claim("launch: a first signal lets running requests finish, the status is the job's")
def _():
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([demo_server.program, "launch", cluster(folder), "--restart"], stderr=subprocess.PIPE, text=True,
                                   env=environment())
        for line in process.stderr:
            if "serving " in line:
                break
        process.terminate()
        process.stderr.read()
        expect(process.wait(30) == 0, "the status")


# Load a server


@claim("the README's bench serve command loads a server and writes its files; closed loop and prompts of a file too")
def _():
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        text = (SOURCE / "README.md").read_text()
        words = re.search(r"build/ternion (bench serve --url.*?run\.svg)", text, re.S).group(1).replace("\\\n", " ").split()
        words = [word.replace("8000", str(server.port)).replace("run.", folder + "/run.") for word in words]
        words[words.index("--requests") + 1] = "12"
        words[words.index("--input-len") + 1] = "lognormal:64:40:150"
        words[words.index("--output-len") + 1] = "8"
        done = run(*words)
        expect("Serving Benchmark Result" in done.stdout and "goodput" in done.stdout, done.stdout)
        written = json.loads(pathlib.Path(folder, "run.json").read_text())
        expect(written["summary"]["completed"] == 12 and len(written["requests"]["ttfts"]) == 12, list(written))
        expect("<svg" in pathlib.Path(folder, "run.svg").read_text(), "the figure")
        prompts = write(folder, "p.jsonl", '{"prompt": "A mutex", "output_len": 4}\n' * 4)
        run("bench", "serve", "--url", f"http://localhost:{server.port}", "--concurrency", "2", "--prompts", prompts, "--requests", "4")
        for lengths in ("16", "uniform:8:20", "normal:16:4:30"):
            run("bench", "serve", "--url", f"http://localhost:{server.port}", "--concurrency", "4", "--requests", "4", "--input-len",
                lengths, "--output-len", "2")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--only", default="", help="claims whose text holds this")
    options = parser.parse_args()
    demo_server.program = os.path.realpath(options.program)
    failed = 0
    for text, function in CLAIMS:
        if options.only not in text:
            continue
        try:
            function()
            print(f"ok   {text}", flush=True)
        except Exception as error:  # every kind of failure is a claim's
            failed += 1
            print(f"FAIL {text}\n     {type(error).__name__}: {error}", flush=True)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
