"""A control plane that keeps audit records, gateways that deliver to it, a fake Databricks: what bench-audit and
chaos-audit run. Each server can be killed, frozen and started again at its place. Standard library only."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from processes import ROOT, UPSTREAM_TOKEN, Failed, Processes, Server, answers, free_port, wait_until

__all__ = ["CHAIN", "MODEL", "ROOT", "Place", "Server", "free_port", "megabytes", "wait_until"]

MODEL = "databricks-meta-llama-3-3-70b-instruct"
CHAIN = ("prompt-injection", "pii-detector", "dlp-filter", "rbac", "audit-logger")
# `client_request_id`: each request upstream names its own, so that the fake's log can be laid beside the records.
PACK = """\
pack:
  name: {name}
  version: "1.0.0"
policies:
  chain: [{chain}]
policy:
  rbac:
    default_role: analyst
    roles:
      analyst:
        allowed_models: [{model}]
        max_tokens_per_request: 2048
  dlp-filter:
    patterns:
      - {{name: databricks-pat, regex: "dapi[a-f0-9]{{32}}", action: block}}
  pii-detector:
    action: redact
    entities: [EMAIL_ADDRESS, PHONE_NUMBER]
{audit}providers:
  targets:
    - id: llama
      provider: databricks:chat:{model}
      base_url: https://adb-1.1.azuredatabricks.net/serving-endpoints
      client_request_id: true
      secret_key_ref: {{env: DATABRICKS_TOKEN}}
"""


def megabytes(path):
    path = pathlib.Path(path)
    files = path.rglob("*") if path.is_dir() else path.parent.glob(path.name + "*")
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


class Postgres(Server):
    """A PostgreSQL of its own (Debian's), in a folder of the user that it runs as: it refuses root."""

    def __init__(self, owner):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        if not found:
            raise Failed("postgres is not installed: apt-get install postgresql")
        self.binaries = found[-1].parent
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kt-postgres-"))
        self.user = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            self.user = ["runuser", "-u", "postgres", "--"]
        self.run("initdb", "-D", self.folder / "data", "-U", "kt", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.port = free_port()
        self.url = f"postgres://kt@127.0.0.1:{self.port}/kt"
        command = [*self.user, self.binaries / "postgres", "-D", self.folder / "data", "-p", self.port, "-h", "127.0.0.1", "-k", self.folder]
        super().__init__(owner, "postgres", command, self.is_ready, None, owner.work / "postgres.log")

    def run(self, program, *arguments, check=True):
        command = list(map(str, [*self.user, self.binaries / program, *arguments]))
        return subprocess.run(command, check=check, capture_output=True, text=True, cwd="/")

    def is_ready(self):
        return self.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port, check=False).returncode == 0

    def start(self, patience=60):
        # After a kill its children hold the memory for a moment, and a new one ends at once.
        deadline = time.monotonic() + (patience or 60)
        while time.monotonic() < deadline:
            super().start(patience=0)
            while self.process.poll() is None and time.monotonic() < deadline:
                if self.is_ready():
                    return
                time.sleep(0.05)
        raise Failed("postgres was not ready in time")

    def kill(self):
        # The postmaster itself: `runuser`, where there is one, ends with it.
        pid = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def ask(self, sql, database="kt"):
        return self.run("psql", "-h", "127.0.0.1", "-p", self.port, "-U", "kt", "-d", database, "-Atc", sql).stdout.strip()

    def bytes(self):
        return int(self.ask("SELECT pg_database_size('kt')"))


class Place(Processes):
    """A folder with everything in it."""

    def postgres(self):
        """A PostgreSQL that runs, with an empty database."""
        self.database = Postgres(self)
        self.database.start()
        self.database.ask("CREATE DATABASE kt", "postgres")
        return self.database

    def stop(self, seconds=15):
        super().stop(seconds)
        if database := getattr(self, "database", None):
            shutil.rmtree(database.folder, ignore_errors=True)

    def control_plane(self, data_dir=None, *arguments):
        """A control plane with tokens of an admin, an auditor and gateways, and a pack that is published."""
        self.port, admin = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir or self.work / "control-plane"
        control_plane = self.server(
            "control-plane",
            [self.bin_dir / "kt", "control-plane", "run", "--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{admin}",
             "--data-dir", self.data_dir, *arguments],
            lambda: answers(admin, "/readyz") == 200)
        control_plane.start()
        self.tokens = {"bootstrap": (self.data_dir / "bootstrap-token").read_text().strip()}
        for role, by in (("admin", "bootstrap"), ("auditor", "admin")):
            out = self.work / f"{role}-token"
            self.kt("auth", "token", "create", "--role", role, "--name", role, "--out", out, by=by)
            self.tokens[role] = out.read_text().strip()
        self.gateway_token = self.work / "gateway-token"
        self.kt("gateway", "token", "create", "--fleet", "default", "--out", self.gateway_token)
        return control_plane

    def pack(self, *, chain=CHAIN, durability=None, name="pack.yaml"):
        """The file of a pack: the chain that is asked for, audit-logger in a durability."""
        audit = f"  audit-logger:\n    durability: {durability}\n    immutable: false\n" if durability else ""
        path = self.work / name
        path.write_text(PACK.format(name=path.stem, chain=", ".join(chain), audit=audit, model=MODEL))
        return path

    def gateway(self, name, audit_dir, *, pack=None, extra=()):
        """A gateway of the fleet, or of one pack file."""
        port, admin = free_port(), free_port()
        source = (["--policy-config", pack] if pack else
                  ["--control-plane", self.url, "--token-file", self.gateway_token, "--state-dir", self.work / f"{name}-state"])
        gateway = self.server(
            name,
            [self.bin_dir / "kt", "gateway", "run", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}",
             "--upstream", f"*=http://{self.upstream}", "--audit-dir", audit_dir, *source, *extra],
            lambda: answers(port, "/readyz") == 200, {"DATABRICKS_TOKEN": UPSTREAM_TOKEN})
        gateway.chat = f"http://127.0.0.1:{port}/v1/chat/completions"
        return gateway

    def load(self, gateway, *arguments, wait=True):
        """A load generator; its report, or the process."""
        command = list(map(str, [self.bin_dir / "kt-load", gateway.chat, *arguments]))
        if not wait:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the load generator failed: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def kt(self, *arguments, by="admin", check=True):
        environment = {**os.environ, "KEEPTRUSTS_API_URL": self.url, "KEEPTRUSTS_API_TOKEN": self.tokens[by]}
        command = [str(self.bin_dir / "kt"), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if check and done.returncode:
            raise SystemExit(f"kt {' '.join(command[1:4])} failed: {done.stderr.strip()}")
        return done.stdout if check else done
