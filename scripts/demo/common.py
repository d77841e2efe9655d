"""What the parts of the demo share: a transcript, HTTP, processes. Standard library only."""

import http.client
import io
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import processes
from processes import ROOT, UPSTREAM_TOKEN, Failed, check, free_port, haproxy, wait_until

__all__ = ["BGE", "DEMO_PACK", "LLAMA_405B", "LLAMA_70B", "MIXTRAL", "ROOT", "SEED_PACK", "UPSTREAM_TOKEN", "Failed", "Processes",
           "check", "free_port", "haproxy", "request", "say", "shorten", "wait_until"]

DEMO_PACK = ROOT / "examples/demo.yaml"
SEED_PACK = ROOT / "examples/seed/databricks-enterprise.yaml"

LLAMA_70B = "databricks-meta-llama-3-3-70b-instruct"
LLAMA_405B = "databricks-meta-llama-3-1-405b-instruct"
MIXTRAL = "databricks-mixtral-8x7b-instruct"
BGE = "databricks-bge-large-en"

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


class Processes(processes.Processes):
    """Those of the demo, over a real workspace or a fake one."""

    def __init__(self, bin_dir, work):
        super().__init__(bin_dir, work)
        self.real = bool(os.environ.get("DATABRICKS_HOST") and os.environ.get("DATABRICKS_TOKEN"))
        self.fake_port = None

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
        # The steps read its log.
        self.fake(keep=10_000)
        self.fake_port = int(self.upstream.rsplit(":", 1)[1])
        say(f"   upstream: the fake Databricks on 127.0.0.1:{self.fake_port}")
        return f"*=http://127.0.0.1:{self.fake_port}"
