"""The push: from publish to enforced, and what kills do to it. Prints a table and a JSON line.

Simulated gateways are a process of their own, each session on its own connection; they fetch, verify and apply as real
ones do and enforce nothing. Standard library only; the parts on etcd need etcd (scripts/setup.sh bench installs it).
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from processes import ROOT, UPSTREAM_TOKEN, Failed, Processes, answers, check, free_port, haproxy, wait_until

PACK = """\
pack:
  name: bench
  version: "{{version}}"
policies:
  chain: [prompt-injection, pii-detector, dlp-filter, rbac, audit-logger]
policy:
  rbac:
    roles:
      analyst:
        allowed_models: [databricks-meta-llama-3-3-70b-instruct]
        max_tokens_per_request: 2048
  dlp-filter:
    patterns:
      - {name: databricks-pat, regex: "dapi[a-f0-9]{32}", action: block}
      - {name: jdbc, regex: "jdbc:databricks://[^\\\\s]+", action: redact}
  pii-detector:
    action: redact
    entities: [EMAIL_ADDRESS, PHONE_NUMBER]
    redaction: {custom_markers: {EMAIL_ADDRESS: "bench@{{version}}"}}
providers:
  targets:
    - id: llama
      provider: databricks:chat:databricks-meta-llama-3-3-70b-instruct
      base_url: https://adb-1.1.azuredatabricks.net/serving-endpoints
      secret_key_ref: {env: DATABRICKS_TOKEN}
"""
BODY = {"model": "databricks-meta-llama-3-3-70b-instruct", "messages": [{"role": "user", "content": "Which region sold most?"}],
        "max_tokens": 16}


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None


def resident_kib(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


class Place(Processes):
    """Control planes of its own over one store, their tokens, and whatever is started beside them."""

    def __init__(self, bin_dir, work, store):
        super().__init__(bin_dir, work)
        self.store = store

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.stop()
            raise
        return self

    def begin(self):
        self.members = self.etcd(1) if self.store == "etcd" else []
        [self.replica] = self.control_planes(1)
        self.url = self.replica.url
        self.people()

    @property
    def control_plane(self):
        return self.replica.process

    def etcd(self, count):
        """A cluster; its members."""
        clients, peers = [[free_port() for _ in range(count)] for _ in range(2)]
        cluster = ",".join(f"m{number}=http://127.0.0.1:{peer}" for number, peer in enumerate(peers))
        members = []
        for number, (client, peer) in enumerate(zip(clients, peers)):
            member = self.server(
                f"etcd-{number}",
                ["etcd", "--name", f"m{number}", "--data-dir", self.work / f"etcd-{number}",
                 "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
                 "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
                 "--initial-cluster", cluster],
                lambda client=client: answers(client, "/health") == 200)
            member.address = f"127.0.0.1:{client}"
            members.append(member)
        start_all(members)
        return members

    def control_planes(self, count):
        """Equal replicas; their servers, with `url`."""
        store = ["--store", "etcd://" + ",".join(member.address for member in self.members)] if self.members else []
        replicas = []
        for number in range(count):
            port, admin = free_port(), free_port()
            replica = self.server(
                f"control-plane-{number}",
                [self.bin_dir / "kt", "control-plane", "run", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}",
                 "--data-dir", self.work / f"control-plane-{number}", *store],
                lambda admin=admin: answers(admin, "/readyz") == 200,
                # As the unit of deploy/ has it.
                {"MIMALLOC_ALLOW_THP": "0", "KEEPTRUSTS_CONTROL_PLANE_REPLICA": f"replica-{number}"})
            replica.port, replica.admin, replica.url = port, admin, f"http://127.0.0.1:{port}"
            replicas.append(replica)
        start_all(replicas)
        return replicas

    def bootstrap(self):
        """The token of the first start; one of the replicas has made it."""
        [token] = [path.read_text().strip() for path in self.work.glob("control-plane-*/bootstrap-token")]
        return token

    def people(self):
        """Tokens of an admin and of gateways, and a pack."""
        self.admin_token = self.work / "admin-token"
        self.kt("auth", "token", "create", "--role", "admin", "--name", "bench", "--out", self.admin_token, token=self.bootstrap())
        self.token = self.work / "gateway-token"
        self.kt("gateway", "token", "create", "--fleet", "default", "--out", self.token)
        self.pack = self.work / "pack.yaml"
        self.pack.write_text(PACK)

    def kt(self, *arguments, token=None, check=True):
        token = token or self.admin_token.read_text().strip()
        environment = {**os.environ, "KEEPTRUSTS_API_URL": self.url, "KEEPTRUSTS_API_TOKEN": token}
        command = [str(self.bin_dir / "kt"), *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if not check:
            return done
        if done.returncode:
            raise Failed(f"kt {' '.join(command[1:4])} failed: {done.stderr.strip()}")
        return done.stdout

    def simulate(self, *arguments, seconds=600):
        command = [self.bin_dir / "kt-sim-gateways", self.url, "--token-file", self.token,
                   "--person-token-file", self.admin_token, "--pack", self.pack, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise Failed(f"the simulated gateways failed: {done.stderr.strip()}")
        return json.loads(done.stdout.splitlines()[-1])

    def gateways(self, count):
        """Real gateways over a fake Databricks: servers that run, with `port`."""
        self.fake()
        gateways = []
        for number in range(count):
            port = free_port()
            gateway = self.server(
                f"gateway-{number}",
                [self.bin_dir / "kt", "gateway", "run", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{free_port()}",
                 "--control-plane", self.url, "--fleet", "default", "--token-file", self.token,
                 "--state-dir", self.work / f"state-{number}", "--upstream", f"*=http://{self.upstream}", "--require-identity",
                 "--audit-dir", self.work / f"audit-{number}"],
                lambda port=port: answers(port, "/readyz") == 200, {"DATABRICKS_TOKEN": UPSTREAM_TOKEN})
            gateway.port = port
            gateways.append(gateway)
        start_all(gateways)
        return gateways

    def publisher(self, publishes, pause):
        """Publishes in the background; each publish is a line of JSON."""
        command = [self.bin_dir / "kt-sim-gateways", self.url, "-n", 0, "--token-file", self.token, "--person-token-file",
                   self.admin_token, "--pack", self.pack, "--publishes", publishes, "--pause", pause, "--hold", 0]
        return self.start("publisher", command, stdout=subprocess.PIPE)

    def key(self):
        made = self.kt("gateway-key", "create", "--fleet", "default", "--user", "bench", "--role", "analyst", "-o", "json")
        return json.loads(made)


def start_all(servers):
    """Starts them, then waits for each: members of a cluster wait for one another."""
    for server in servers:
        server.start(patience=0)
    for server in servers:
        wait_until(server.ready, server.name, server.process)


class Caller:
    """Requests over one connection; each answer's status and pack."""

    def __init__(self, port, key, text=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        self.body = json.dumps({**BODY, "messages": [{"role": "user", "content": text}]} if text else BODY)
        self.said = None

    def __call__(self):
        self.connection.request("POST", "/v1/chat/completions", self.body, self.headers)
        response = self.connection.getresponse()
        body = response.read()
        self.said = json.loads(body)["choices"][0]["message"]["content"] if response.status == 200 else None
        return response.status, response.getheader("x-keeptrusts-pack")


def push(place, gateways, publishes):
    """Publish to the last Applied of many simulated gateways."""
    return place.simulate("-n", gateways, "--publishes", publishes, "--key-changes", 10, "--hold", 0)


def hold(place, sessions):
    """What a held session costs the server."""
    before = resident_kib(place.control_plane.pid)
    command = [place.bin_dir / "kt-sim-gateways", place.url, "-n", sessions, "--token-file", place.token, "--connect-within", 300]
    process = place.start("sessions", command, stdout=subprocess.PIPE)
    for line in process.stdout:
        if line.strip() == b"done":
            break
    time.sleep(10)
    after = resident_kib(place.control_plane.pid)
    process.send_signal(signal.SIGTERM)
    standing = json.loads(process.communicate(timeout=120)[0].splitlines()[-1])["standing"]
    return {"sessions": standing["connected"], "breaks": standing["breaks"], "resident_mib": round(after / 1024, 1),
            "kib_per_session": round((after - before) / sessions, 1)}


def first_judged(place, publishes):
    """Publish to the first answer that names the new pack, on one gateway."""
    place.simulate("-n", 0, "--publishes", 1, "--hold", 0)
    [gateway] = place.gateways(1)
    key = place.key()["key"]
    call = Caller(gateway.port, key)
    wait_until(lambda: call()[0] == 200, "the key")
    seen, stop = {}, threading.Event()

    def ask():
        while not stop.is_set():
            status, pack = call()
            if status == 200:
                seen.setdefault(pack, time.time())

    asking = threading.Thread(target=ask)
    asking.start()
    publisher = place.publisher(publishes, 0.15)
    published = [json.loads(line) for line in publisher.stdout if line.startswith(b'{"pack"')]
    time.sleep(1)
    stop.set()
    asking.join()
    took = [(seen[push["pack"]] - push["began_us"] / 1e6) * 1000 for push in published if push["pack"] in seen]
    return {"publishes": len(published), "seen": len(took), "p50_ms": round(percentile(took, 50), 1),
            "p99_ms": round(percentile(took, 99), 1), "max_ms": round(max(took), 1)}


def revoked(place, gateways, times):
    """`kt gateway-key revoke` to the last gateway that refuses the key."""
    place.simulate("-n", 0, "--publishes", 1, "--hold", 0)
    ports = [gateway.port for gateway in place.gateways(gateways)]
    took = []
    for _ in range(times):
        made = place.key()
        callers = [Caller(port, made["key"]) for port in ports]
        for call in callers:
            wait_until(lambda call=call: call()[0] == 200, "the key")
        ends = [None] * len(callers)

        def ask(number, call):
            while call()[0] != 401:
                time.sleep(0.002)
            ends[number] = time.monotonic()

        threads = [threading.Thread(target=ask, args=each) for each in enumerate(callers)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        place.kt("gateway-key", "revoke", "--fleet", "default", made["id"])
        for thread in threads:
            thread.join()
        took.extend((end - began) * 1000 for end in ends)
    return {"gateways": gateways, "revocations": times, "p50_ms": round(percentile(took, 50), 1),
            "p99_ms": round(percentile(took, 99), 1), "max_ms": round(max(took), 1)}


def swapped(place, publishes):
    """Requests at full load while packs are swapped."""
    place.simulate("-n", 0, "--publishes", 1, "--hold", 0)
    [gateway] = place.gateways(1)
    key = place.key()["key"]
    # The pack that judges it writes its own name in the place of the address, and the fake repeats that.
    call = Caller(gateway.port, key, "say: jane.doe@example.com")
    wait_until(lambda: call()[0] == 200, "the key")
    publisher = place.publisher(publishes, 0.05)
    body = place.work / "body.json"
    body.write_text(json.dumps(BODY))
    load = place.start("load", [place.bin_dir / "kt-load", f"http://127.0.0.1:{gateway.port}/v1/chat/completions", "--connections", 16,
                                "--duration", 600, "--warm-up", 0, "--body", body, "--header", f"Authorization: Bearer {key}"],
                       stdout=subprocess.PIPE)
    packs, wrong = set(), 0
    published = []
    reader = threading.Thread(target=lambda: published.extend(line for line in publisher.stdout if line.startswith(b'{"pack"')))
    reader.start()
    while reader.is_alive():
        status, pack = call()
        packs.add(pack)
        wrong += status != 200 or pack != call.said
    load.send_signal(signal.SIGTERM)
    figures = json.loads(load.communicate(timeout=60)[0])
    return {"publishes": len(published), "requests": figures["completed"], "failed": sum(figures["errors"].values()),
            "rps": figures["rps"], "sampled_packs": len(packs), "named_another_pack": wrong}


class ReplicatedPlace(Place):
    """Three control planes over three etcd members, behind the HAProxy of deploy/."""

    def begin(self):
        self.members = self.etcd(3)
        self.replicas = self.control_planes(3)
        port = free_port()
        text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text()
        # The part for the control plane: gateways are asked one by one here.
        head, tail = text.partition("frontend clients")[0], text.partition("# gRPC passes")[2].partition("\n")[2]
        config = head.replace("maxconn 20000", "maxconn 2000") + tail.replace("bind :7443", f"bind 127.0.0.1:{port}")
        for number, replica in enumerate(self.replicas, 1):
            config = config.replace(f"control-plane{number}:7443 check port 7444",
                                    f"127.0.0.1:{replica.port} check port {replica.admin}")
        path = self.work / "haproxy.cfg"
        path.write_text(config)
        self.url = f"http://127.0.0.1:{port}"
        self.start("haproxy", [haproxy(), "-db", "-f", path])
        whoami = lambda: self.kt("auth", "whoami", token=self.bootstrap(), check=False).returncode == 0
        wait_until(whoami, "a control plane behind HAProxy")
        self.people()


class Watched:
    """A gateway that is asked all the while: whether it ever goes back to an older pack."""

    def __init__(self, gateway, key):
        self.gateway, self.key = gateway, key
        self.newest, self.went_back, self.asked = -1, 0, 0
        self.is_over = threading.Event()
        self.asking = threading.Thread(target=self.ask)
        self.asking.start()

    def ask(self):
        call = None
        while not self.is_over.is_set():
            try:
                call = call or Caller(self.gateway.port, self.key)
                status, pack = call()
            except (OSError, http.client.HTTPException):
                # It was killed.
                call = None
                time.sleep(0.02)
                continue
            if status == 200 and (number := re.fullmatch(r"bench@2\.(\d+)\.0", pack or "")):
                self.asked += 1
                self.went_back += int(number[1]) < self.newest
                self.newest = int(number[1])
            time.sleep(0.005)

    def end(self):
        self.is_over.set()
        self.asking.join()


class Killer:
    """Kills one of each, again and again, at moments that nobody expects, and starts it again."""

    def __init__(self, kinds, seed):
        self.kinds, self.chance = kinds, random.Random(seed)
        self.kills = dict.fromkeys(kinds, 0)
        self.is_over = threading.Event()
        self.failure = None
        self.killing = threading.Thread(target=self.run)
        self.killing.start()

    def run(self):
        try:
            while not self.is_over.wait(self.chance.uniform(0.2, 1.0)):
                self.round()
        except Failed as failure:
            self.failure = failure

    def round(self):
        victims = []
        for kind, servers in self.kinds.items():
            victim = self.chance.choice(servers)
            victim.kill()
            self.kills[kind] += 1
            victims.append(victim)
            time.sleep(self.chance.uniform(0, 0.5))
        time.sleep(self.chance.uniform(0, 1.5))
        for victim in victims:
            victim.start(patience=0)
        for victim in victims:
            wait_until(victim.ready, victim.name, victim.process, 120)

    def end(self):
        self.is_over.set()
        self.killing.join()
        if self.failure:
            raise self.failure


def killed(place, publishes, simulated, seed):
    """Versions are published while one etcd member, one control plane and one gateway at a time are killed with SIGKILL."""

    def publish(number):
        """As a person would: again until it is done. The bytes are the same, so that a repeat is no second publish."""
        place.pack.write_text(PACK.replace("{{version}}", f"2.{number}.0"))
        deadline = time.monotonic() + 120
        again = 0
        while place.kt("pack", "publish", place.pack, check=False).returncode:
            check(time.monotonic() < deadline, f"version 2.{number}.0 could not be published")
            again += 1
            time.sleep(0.05)
        return again

    publish(0)
    gateways = place.gateways(3)
    key = place.key()["key"]
    for gateway in gateways:
        call = Caller(gateway.port, key)
        wait_until(lambda call=call: call()[0] == 200, "the key")
    sessions = place.start("sessions", [place.bin_dir / "kt-sim-gateways", *[replica.url for replica in place.replicas],
                                        "-n", simulated, "--token-file", place.token], stdout=subprocess.PIPE)
    for line in sessions.stdout:
        if line.strip() == b"done":
            break
    watched = [Watched(gateway, key) for gateway in gateways]
    killer = Killer({"etcd": place.members, "control_plane": place.replicas, "gateway": gateways}, seed)
    again, slowest = 0, 0.0
    try:
        for number in range(1, publishes + 1):
            began = time.monotonic()
            again += publish(number)
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.15)
    finally:
        # What is away when the last version is published comes back afterwards.
        began = time.monotonic()
        killer.end()

    def have_converged():
        # It exits 1 as long as they have not.
        counts = json.loads(place.kt("fleet", "status", "-o", "json", check=False).stdout)["counts"]
        return counts["applied"] == counts["gateways"] == simulated + len(gateways)

    try:
        wait_until(lambda: all(each.newest == publishes for each in watched) and have_converged(), "the fleet", None, 120)
        converged = time.monotonic() - began
    finally:
        for each in watched:
            each.end()
    sessions.send_signal(signal.SIGTERM)
    standing = json.loads(sessions.communicate(timeout=60)[0].splitlines()[-1])["standing"]
    history = json.loads(place.kt("fleet", "history", "--limit", 10 * publishes, "-o", "json"))
    versions = [pack["version"] for one in reversed(history) for pack in one["packs"]]
    wanted = [f"2.{number}.0" for number in range(publishes + 1)]
    generations = sorted(one["generation"] for one in history)
    figures = {"publishes": publishes, "kills": killer.kills, "lost": len(set(wanted) - set(versions)),
               "doubled": len(versions) - len(set(versions)), "in_order": versions == wanted,
               "without_gap": generations == list(range(1, publishes + 2)), "calls_repeated": again, "slowest_publish_s": round(slowest, 1),
               "gateways": len(gateways), "answers": sum(each.asked for each in watched),
               "went_back": sum(each.went_back for each in watched), "simulated": simulated,
               "simulated_went_back": standing["went_back"], "simulated_breaks": standing["breaks"], "converged_s": round(converged, 1)}
    is_well = (not figures["lost"] and not figures["doubled"] and figures["in_order"] and figures["without_gap"]
               and not figures["went_back"] and not figures["simulated_went_back"])
    check(is_well, f"publishes under kills: {json.dumps(figures)}")
    return figures


PARTS = ["push", "hold", "first", "revoke", "swap", "kill"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--gateways", type=int, default=1000)
    parser.add_argument("--publishes", type=int, default=30)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--kill-publishes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--only", action="append", choices=PARTS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-push-"))
    stores = ["embedded"] + (["etcd"] if shutil.which("etcd") else [])
    best = stores[-1]
    if best != "etcd":
        print("etcd is not installed: the parts on it are left out, or run on the embedded store")
    wanted = options.only or PARTS
    results = {}

    def place(name, store):
        return Place(options.bin_dir.resolve(), work / name, store)

    try:
        if "push" in wanted:
            print(f"\npublish to the last of {options.gateways} simulated gateways that applied it, {options.publishes} publishes")
            for store in stores:
                with place(f"push-{store}", store) as at:
                    figures = push(at, options.gateways, options.publishes)
                results[f"push_{store}"] = figures
                for what in ("publishes", "key_changes"):
                    series = figures[what]
                    print(f"  {store:9}{what:12} p50 {series['p50_ms']:>7.0f} ms  p99 {series['p99_ms']:>7.0f} ms"
                          f"  first p50 {series['first_p50_ms']:>5.0f} ms")
                print(f"  {store:9}connected within {figures['connect_seconds']:.1f} s; streams that broke {figures['standing']['breaks']},"
                      f" went back {figures['standing']['went_back']}")
        if "hold" in wanted:
            print(f"\n{options.sessions} sessions held")
            with place("hold", "embedded") as at:
                figures = hold(at, options.sessions)
            results["hold"] = figures
            print(f"  {figures['sessions']} connected, {figures['breaks']} broke; server {figures['resident_mib']} MiB,"
                  f" {figures['kib_per_session']} KiB a session")
        for name, title, run in (
            ("first", "publish to the first answer judged by the new pack, one gateway", lambda at: first_judged(at, options.publishes)),
            ("revoke", "key revoked to refused, 20 gateways", lambda at: revoked(at, 20, 10)),
            ("swap", "packs swapped under full load", lambda at: swapped(at, 100)),
        ):
            if name in wanted:
                print(f"\n{title} ({best})")
                with place(name, best) as at:
                    results[name] = run(at)
                print("  " + ", ".join(f"{key} {value}" for key, value in results[name].items()))
        if "kill" in wanted and best == "etcd":
            print(f"\n{options.kill_publishes} publishes while one of 3 etcd members, 3 control planes and 3 gateways at a time is killed"
                  f" (seed {options.seed})")
            with ReplicatedPlace(options.bin_dir.resolve(), work / "kill", "etcd") as at:
                results["kill"] = killed(at, options.kill_publishes, 60, options.seed)
            print("  " + ", ".join(f"{key} {value}" for key, value in results["kill"].items()))
        print()
        print(json.dumps(results))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
