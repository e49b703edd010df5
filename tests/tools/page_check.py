#!/usr/bin/python3
"""The page at / in a headless Chromium, against demo servers of four ranks that it starts.

    tests/tools/page_check.py build/ternion [SCREENSHOTS]

Opens the page light, dark and 360 px wide, chats and completes, stops an answer, asks for a key, and looks what the page
says when a rank was killed. Fails on console messages, on layout that moves, on anything wider than the window and on
controls without a name. Exits 77, which CTest shows as skipped, where Chromium or python3-websocket is missing.
"""
import base64
import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 60
WIDE, NARROW = (1280, 900), (360, 740)


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


try:
    import websocket
except ImportError:
    skip("there is no module websocket (package python3-websocket)")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or skip("there is no chromium")


def wait_for(what, look, limit=LIMIT_S):
    """The first true value of look()."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.05)
    raise SystemExit(f"FAILED: waited {limit} s for {what}")


def check(truth, what):
    if not truth:
        raise SystemExit(f"FAILED: {what}")


class Server:
    """The demo model on four ranks."""

    def __init__(self, program, log, model, *options):
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.log = log
        with open(log, "w", encoding="utf-8") as err:
            self.process = subprocess.Popen(
                ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "4", program, "serve", model, "--tp", "2",
                 "--pp", "2", "--threads", "1", "--device", "cpu", "--host", "127.0.0.1", "--port", "0", *options],
                stderr=err, env=environment, start_new_session=True)
        self.url = wait_for("the server", self.find_url)

    def find_url(self):
        text = pathlib.Path(self.log).read_text(encoding="utf-8")
        check(self.process.poll() is None, f"the server ended: {text}")
        found = re.search(r"on (http://127.0.0.1:\d+)", text)
        return found and found[1]

    def rank(self, number):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        mark = f"OMPI_COMM_WORLD_RANK={number}".encode()
        return next(int(p) for p in children if mark in pathlib.Path(f"/proc/{p}/environ").read_bytes().split(b"\0"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)  # drain
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Browser:
    """A page in a Chromium of its own, over the DevTools protocol."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"],
            stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        port_file = pathlib.Path(folder) / "DevToolsActivePort"
        port = wait_for("Chromium", lambda: port_file.exists() and port_file.read_text().split("\n")[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            target = next(t for t in json.load(answer) if t["type"] == "page")
        self.socket = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=LIMIT_S)
        self.numbers = itertools.count(1)
        self.console = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        # Before the page's own scripts: what moves without having been asked to.
        self.call("Page.addScriptToEvaluateOnNewDocument", source="""
            window.shift = 0;
            new PerformanceObserver((list) => list.getEntries().forEach((e) => {
              if (!e.hadRecentInput) window.shift += e.value;
            })).observe({type: 'layout-shift', buffered: true});""")

    def call(self, method, **parameters):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            self.note(message)
            if message.get("id") == number:
                check("error" not in message, f"{method}: {message.get('error')}")
                return message["result"]

    def note(self, message):
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.console.append(str(parameters["args"]))
        if message.get("method") == "Runtime.exceptionThrown":
            self.console.append(json.dumps(parameters["exceptionDetails"]))
        if message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.console.append(parameters["entry"]["text"])

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        check("exceptionDetails" not in result, f"{script}: {result.get('exceptionDetails')}")
        return result["result"].get("value")

    def wait(self, script, limit=None):
        return wait_for(script, lambda: self.run(script), limit or LIMIT_S)

    def look(self, size, scheme):
        width, height = size
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && (typeof byId === 'function' || location.protocol === 'about:')")

    def type(self, field, text):
        self.run(f"byId('{field}').focus(); byId('{field}').select()")
        self.call("Input.insertText", text=text)

    def press(self, key, code):
        for kind in ("rawKeyDown", "char", "keyUp"):
            text = {"text": "\r"} if kind == "char" and key == "Enter" else {}
            if kind != "char" or text:
                self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, path):
        height = self.run("document.documentElement.scrollHeight")
        width = self.run("document.documentElement.clientWidth")
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                         clip={"x": 0, "y": 0, "width": width, "height": height, "scale": 1})
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))

    def stop(self):
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Load:
    """Clients beside the page's, so that its charts have something to show."""

    def __init__(self, url, clients):
        self.ended = False
        self.threads = [threading.Thread(target=self.ask, args=(url, 100 + 90 * i)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, url, tokens):
        body = json.dumps({"prompt": "Threads that wait", "max_tokens": tokens, "ignore_eos": True}).encode()
        while not self.ended:
            request = urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                answer.read()
            time.sleep(0.2)

    def stop(self):
        self.ended = True
        for thread in self.threads:
            thread.join()


LAST = "byId('log').lastElementChild"
STATE = "byId('state').textContent"


def ask(browser, text):
    """Sends by the keyboard alone; the text of the answer when it is complete."""
    browser.type("prompt", text)
    browser.press("Enter", 13)
    browser.wait(f"{LAST}?.querySelector('.figures')?.textContent.includes('tokens')")
    return browser.run(f"{LAST}.querySelector('span').textContent")


def check_layout(browser, what):
    wide = browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(wide <= 0, f"{what}: the page is {wide} px wider than the window")
    shift = browser.run("window.shift")
    check(shift < 0.02, f"{what}: layout shift {shift}")
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    for node in tree:
        role = node.get("role", {}).get("value")
        if role in ("button", "textbox", "spinbutton", "image", "log", "table") and not node.get("ignored"):
            check(node.get("name", {}).get("value"), f"{what}: a {role} has no name")


def check_quiet(browser, what, allowed=()):
    left = [m for m in browser.console if not any(a in m for a in allowed)]
    check(not left, f"{what}: the console says {left}")
    browser.console.clear()


def check_views(browser, server, shots):
    for name, size, scheme in (("light", WIDE, "light"), ("dark", WIDE, "dark"), ("narrow", NARROW, "light"),
                               ("narrow-dark", NARROW, "dark")):
        browser.look(size, scheme)
        browser.open(server.url + "/")
        browser.wait(f"{STATE} === 'ready' && byId('ranks').children.length === 4")
        check(browser.run("byId('ranks').textContent.includes('MiB')"), "ranks tell their memory")
        text = ask(browser, "The std::vector class template")
        check(len(text) > 10, f"a chat streams, not {text!r}")
        ask(browser, "A mutex")
        roles = browser.run("messages.map((m) => m.role).join()")
        check(roles == "user,assistant,user,assistant", f"a conversation goes on, not {roles}")
        # Three clients are at work.
        browser.wait("charts.tokens.series[0].length > 12 && charts.tokens.series[0].some((v) => v > 1)")
        browser.wait("charts.requests.series[0].some((v) => v >= 1)")
        check_layout(browser, name)
        check_quiet(browser, name)
        shift = browser.run("window.shift")
        browser.screenshot(shots / f"{name}.png")
        print(f"{name}: {browser.run(LAST + '.querySelector(`.figures`).textContent')}, "
              f"layout shift {shift:.4f}")


def check_stop(browser):
    browser.run("const body = requestBody; requestBody = (...all) => ({...body(...all), ignore_eos: true}); 0")
    browser.type("max-tokens", "1900")
    browser.type("prompt", "Memory that is")
    browser.press("Enter", 13)
    browser.wait(f"{LAST}.querySelector('span').textContent.length > 20")
    check(browser.run("document.activeElement.id") == "prompt", "the focus stays where it was")
    browser.press("Escape", 27)
    browser.wait(f"{LAST}.querySelector('.figures').textContent === 'stopped'")
    browser.wait("job.requests.running === 0")
    browser.type("max-tokens", "100000")
    browser.type("prompt", "x")
    browser.press("Enter", 13)
    check(browser.run("byId('prompt').value") == "x", "a form with a wrong number is not sent")
    check_quiet(browser, "stop")
    print("stop: an answer was stopped, and its request cancelled")


def check_key(browser, server, shots):
    browser.open(server.url + "/")
    browser.wait("!byId('key-form').hidden")
    browser.type("key", "wrong")
    browser.press("Enter", 13)
    browser.wait("byId('key-error').textContent.includes('refused')")
    browser.screenshot(shots / "key.png")
    browser.type("key", "secret")
    browser.press("Enter", 13)
    browser.wait(f"{STATE} === 'ready' && byId('ranks').children.length === 4")
    check(browser.run("Object.keys(localStorage).length === 0 && !document.cookie"), "the key is kept in this tab alone")
    check_quiet(browser, "key", allowed=("401",))
    print("key: asked for, refused when wrong, kept in sessionStorage")


def check_completion(browser, shots):
    check(browser.run("job.can_chat") is False, "a model with a broken template cannot chat")
    check("Text" in browser.run("byId('prompt-label').textContent"), "the page says so")
    text = ask(browser, "The std::vector class template")
    check(len(text) > 40, f"a completion streams, not {text!r}")
    browser.screenshot(shots / "completion.png")
    check_quiet(browser, "completion")
    print("completion: where the model cannot chat")


def check_loss(browser, server, shots):
    os.kill(server.rank(3), signal.SIGKILL)
    browser.wait(f"{STATE} !== 'ready'", 15)
    first = browser.run(f"{STATE} + ': ' + byId('reason').textContent")
    browser.wait(f"{STATE} === 'no answer'", 30)
    browser.type("prompt", "x")
    browser.press("Enter", 13)
    browser.wait(f"{LAST}.querySelector('.figures.error')?.textContent.includes('does not answer')")
    browser.screenshot(shots / "lost.png")
    check_quiet(browser, "loss", allowed=("ERR_", "503"))
    print(f"loss: the page said {first!r}, then that the server does not answer")


def mute_model(folder):
    """The demo model with a chat template that nobody can run: it completes, and cannot chat."""
    model = pathlib.Path(folder) / "mute"
    model.mkdir()
    for file in (ROOT / "configs/demo").iterdir():
        (model / file.name).symlink_to(file)
    (model / "chat_template.jinja").write_text("{% for", encoding="utf-8")
    return str(model)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        shots = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else folder)
        shots.mkdir(parents=True, exist_ok=True)
        browser = Browser(os.path.join(folder, "profile"))
        stack.callback(browser.stop)
        server = Server(program, os.path.join(folder, "log"), str(ROOT / "configs/demo"))
        stack.callback(server.stop)
        load = Load(server.url, clients=3)
        stack.callback(load.stop)
        check_views(browser, server, shots)
        load.stop()
        check_stop(browser)
        browser.open("about:blank")
        server.stop()
        server = Server(program, os.path.join(folder, "log2"), mute_model(folder), "--api-key", "secret")
        stack.callback(server.stop)
        check_key(browser, server, shots)
        check_completion(browser, shots)
        check_loss(browser, server, shots)


if __name__ == "__main__":
    main()
