"""What the parts of the demo share: a transcript, HTTP, processes. Standard library only."""

import contextlib
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEMO_PACK = ROOT / "examples/demo.yaml"
SEED_PACK = ROOT / "examples/seed/databricks-enterprise.yaml"

LLAMA_70B = "databricks-meta-llama-3-3-70b-instruct"
LLAMA_405B = "databricks-meta-llama-3-1-405b-instruct"
MIXTRAL = "databricks-mixtral-8x7b-instruct"
BGE = "databricks-bge-large-en"
# Opens the fake workspace and nothing else.
FAKE_PAT = "dapi" + "f" * 32


class Failed(Exception):
    """A step did not do what it says."""


def check(holds, what):
    if not holds:
        raise Failed(what)


class Transcript:
    """Prints, and keeps what was printed for the README."""

    def __init__(self):
        self.kept = io.StringIO()

    def __call__(self, text=""):
        print(text, flush=True)
        self.kept.write(text + "\n")

    def step(self, number, title):
        self()
        self(f"{number}. {title}")


say = Transcript()


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, key=None, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=60)
    headers = {}
    if body is not None:
        headers["content-type"] = "application/json"
    if key:
        headers["authorization"] = f"Bearer {key}"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    response = connection.getresponse()
    reply = Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    connection.close()
    return reply


def shorten(text, limit=100):
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(ready, what, process, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check(process.poll() is None, f"{what} ended before it was ready")
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if ready():
                return
        time.sleep(0.05)
    raise Failed(f"{what} was not ready within {seconds} s")


class Processes:
    """Starts things in a folder of their own, and ends what it started."""

    def __init__(self, bin_dir, work):
        self.bin_dir, self.work = bin_dir, work
        self.processes = []
        self.real = bool(os.environ.get("DATABRICKS_HOST") and os.environ.get("DATABRICKS_TOKEN"))
        self.fake_port = None

    def start(self, name, arguments, environment=None):
        with open(self.work / f"{name}.log", "ab") as log:
            process = subprocess.Popen(arguments, stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        self.processes.append((name, process))
        return process

    def stop(self):
        running = [process for _, process in reversed(self.processes) if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=15)
                continue
            process.kill()

    def kt(self, *arguments, expect=0, environment=None, stdin=None):
        done = subprocess.run([self.bin_dir / "kt", *map(str, arguments)], capture_output=True, text=True,
                              env={**os.environ, **(environment or {})}, input=stdin)
        named = " ".join(map(str, arguments[:2]))
        check(done.returncode == expect, f"kt {named} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def start_upstream(self):
        if self.real:
            say(f"   upstream: the workspace {os.environ['DATABRICKS_HOST']}")
            return f"*={os.environ['DATABRICKS_HOST']}"
        port_file = self.work / "fake.port"
        fake = self.start(
            "fake-databricks",
            [self.bin_dir / "kt-fake-databricks", "--listen", "127.0.0.1:0", "--token", FAKE_PAT,
             "--port-file", port_file],
        )
        wait_until(lambda: port_file.exists() and port_file.read_text().strip(), "the fake Databricks", fake)
        self.fake_port = int(port_file.read_text().strip().rsplit(":", 1)[1])
        say(f"   upstream: the fake Databricks on 127.0.0.1:{self.fake_port}")
        return f"*=http://127.0.0.1:{self.fake_port}"
