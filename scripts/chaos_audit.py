"""Audit under fire: gateways, the control plane and its store are killed under load, a disk is full, the control plane
freezes. What a client saw complete, and what the fake Databricks was asked, must all be in the store, once each, and the
chain must verify. The oracle is the load generator's file of completed ids and the fake's log of requests, never a
counter of the gateway. The last line is JSON; exit 0 only if nothing was lost and nothing is there twice.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from audit_place import CHAIN, Place, wait_until

# Gateways share the machine with everything else here: enough to have requests under way at each kill.
RATE = 150
ASK = {"model": "databricks-meta-llama-3-3-70b-instruct", "messages": [{"role": "user", "content": "hello"}]}
BLOCKED = {"model": "databricks-meta-llama-3-3-70b-instruct",
           "messages": [{"role": "user", "content": "use dapi" + "0123456789abcdef" * 2 + " for this, {{mark}}"}]}


class Disk:
    """A small file system of its own, which can be filled; as root only."""

    def __init__(self, folder, size):
        self.folder, self.size = folder, size
        folder.mkdir()
        self.is_mounted = os.geteuid() == 0 and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "kt-chaos", folder], capture_output=True).returncode == 0

    def fill(self):
        with open(self.folder / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                pass

    def free(self):
        (self.folder / "filler").unlink()

    def end(self):
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.folder], check=False)


def answered(gateway):
    """What a request is answered with now; not more than four a second."""
    time.sleep(0.25)
    request = urllib.request.Request(gateway.chat, json.dumps(ASK).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def say(began, text):
    print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)


def run(options, work, disks):
    chance = random.Random(options.seed)
    began = time.monotonic()
    with Place(options.bin_dir.resolve(), work) as place:
        echo = work / "echo.jsonl"
        # Streams take half a second, so that each kill finds some that have begun.
        place.fake("--echo-log", echo, "--token-delay-ms", 20)
        postgres = place.postgres() if options.store == "postgres" else None
        store = ["--audit-store", postgres.url] if postgres else []
        control_plane = place.control_plane(None, *store)
        place.kt("pack", "publish", place.pack(chain=CHAIN))
        disk = Disk(work / "disk", "256m")
        disks.append(disk)
        gateways = [place.gateway("gw-a", work / "audit-a"), place.gateway("gw-b", disk.folder / "audit-b")]
        blocked = work / "blocked.json"
        blocked.write_text(json.dumps(BLOCKED))
        loads = []
        for gateway in gateways:
            gateway.start()
            loads.append(place.load(gateway, "--rate", RATE, "--duration", 7200, "--warm-up", 0, "--connections", 8,
                                    "--ids", work / f"{gateway.name}.ids", wait=False))
            loads.append(place.load(gateway, "--rate", RATE // 10, "--duration", 7200, "--warm-up", 0, "--connections", 8, "--stream",
                                    "--ids", work / f"{gateway.name}.ids", wait=False))
            loads.append(place.load(gateway, "--rate", RATE // 10, "--duration", 7200, "--warm-up", 0, "--connections", 1,
                                    "--body", blocked, wait=False))

        victims = [*gateways, control_plane, *([postgres] if postgres else [])]
        kills = {victim.name: 0 for victim in victims}
        # Each in turn, then whichever chance names; now and then two at once.
        for number in range(options.kills):
            victim = victims[number % len(victims)] if number < options.kills // 2 else chance.choice(victims)
            both = [victim]
            if number >= options.kills // 2 and chance.random() < 0.2:
                both.append(chance.choice([other for other in victims if other is not victim]))
            time.sleep(chance.uniform(0.05, options.pause))
            for each in both:
                each.kill()
                kills[each.name] += 1
            for each in reversed(both):
                each.start(patience=0)
            # A start that never gets ready would make the next kill a kill of nothing.
            for each in both:
                wait_until(each.ready, each.name, each.process, 60)
            if (number + 1) % 20 == 0:
                say(began, f"{sum(kills.values())} kills")

        say(began, "the control plane is frozen for 25 s")
        control_plane.signal(signal.SIGSTOP)
        time.sleep(25)
        control_plane.signal(signal.SIGCONT)

        full = None
        if disk.is_mounted:
            disk.fill()
            wait_until(lambda: answered(gateways[1]) == 503, "the refusal on a full disk", None, 30)
            full = 503
            say(began, f"a full disk: gw-b answers {full}, gw-a {answered(gateways[0])}")
            disk.free()
            wait_until(lambda: answered(gateways[1]) == 200, "service on a disk with room again", None, 60)
            # And killed while it is full: what is torn there must not harm what was whole.
            disk.fill()
            gateways[1].kill()
            disk.free()
            gateways[1].start()
            kills["gw-b"] += 1
        else:
            say(began, "no right to mount a small file system: the full disk was left out")

        for load in loads:
            load.send_signal(signal.SIGINT)
        errors = collections.Counter()
        for load in loads:
            errors.update(json.loads(load.communicate()[0])["errors"])
        left = [gateway.name for gateway in gateways if gateway.stop() != 0]
        say(began, "all is quiet; the records are compared")
        return compare(place, echo, gateways, work, {"kills": sum(kills.values()), "by": kills, "client_errors": errors,
                                                      "disk_full": full or "left out: no right to mount", "not_delivered": left})


def compare(place, echo, gateways, work, result):
    completed = set()
    for gateway in gateways:
        completed |= {line.split()[0] for line in (work / f"{gateway.name}.ids").read_text().splitlines() if line}
    upstream = set()
    with open(echo) as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["event"] == "request":
                upstream.add(json.loads(entry["body"]["text"])["client_request_id"])
    listed = place.kt("events", "list", "--limit", 10_000_000, "-o", "json", by="auditor").splitlines()
    ids, interrupted, blocks = [], 0, 0
    for line in listed:
        record = json.loads(line)
        ids.append(record["id"])
        interrupted += record["end"] == "interrupted"
        blocks += record["verdict"] == "block"
    verified = place.kt("audit", "verify", "-o", "json", by="auditor", check=False)
    stored = set(ids)
    result |= {
        "blocked": blocks, "chain": "intact" if verified.returncode == 0 else verified.stdout.strip(),
        "completed": len(completed), "upstream": len(upstream), "stored": len(stored), "interrupted": interrupted,
        "duplicates": len(ids) - len(stored), "lost": len((completed | upstream) - stored),
    }
    print(json.dumps(result))
    return 0 if not result["lost"] and not result["duplicates"] and not result["not_delivered"] and verified.returncode == 0 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two kills, at most")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-chaos-"))
    print(f"{options.kills} kills on {options.store}, seed {options.seed}, in {work}")
    disks = []
    try:
        return run(options, work / "place", disks)
    finally:
        for disk in disks:
            disk.end()
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
