"""What audit costs and carries: records a second from a spool into the store, latency that a durability adds, and
queries over a full store. Prints a table and a JSON line. Standard library only.

Processor time is told apart: the load that fills the spool runs before anything is measured.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from audit_place import CHAIN, Place, megabytes

BLOCKED = {"model": "databricks-meta-llama-3-3-70b-instruct",
           "messages": [{"role": "user", "content": "use dapi" + "0123456789abcdef" * 2 + " for this"}]}


def fill(place, spool, records):
    """A spool of at least so many records: of each ten requests one is blocked, and leaves one record, not two."""
    gateway = place.gateway("filler", spool, pack=place.pack(name="filler.yaml"))
    gateway.start()
    body = place.work / "blocked.json"
    body.write_text(json.dumps(BLOCKED))
    requests = -(-records * 10 // 19)
    ids = place.work / "ids"
    load = ["--connections", 16, "--warm-up", 0, "--duration", 36_000]
    place.load(gateway, *load, "-n", requests * 9 // 10, "--ids", ids)
    place.load(gateway, *load, "-n", requests // 10 + 1, "--body", body)
    gateway.stop()
    return ids


def ship(place, control_plane, spool):
    """Spool to store; the sender is the gateway's own code, in a process of its own."""
    before, began = control_plane.cpu_seconds(), time.monotonic()
    sender = subprocess.Popen([str(place.bin_dir / "kt"), "spool", "ship", "--audit-dir", str(spool), "--control-plane", place.url,
                               "--token-file", str(place.gateway_token), "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = sender.communicate()
    took = time.monotonic() - began
    if sender.returncode:
        raise SystemExit(f"kt spool ship failed: {errors.decode().strip()}")
    return took, control_plane.cpu_seconds() - before, json.loads(output)


def delivery(place, store, records):
    postgres = place.postgres() if store == "postgres" else None
    place.fake()
    control_plane = place.control_plane(None, *(["--audit-store", postgres.url] if postgres else []))
    spool = place.work / "spool"
    ids = fill(place, spool, records)
    spool_mb = megabytes(spool)
    took, cpu, _ = ship(place, control_plane, spool)
    verified = json.loads(place.kt("audit", "verify", "-o", "json", by="auditor"))
    stored = sum(instance["records"] for instance in verified["instances"])
    figures = {"records": stored, "bytes_in_spool": round(spool_mb * 1e6 / stored), "seconds": round(took, 2),
               "records_per_second": round(stored / took), "control_plane_cpu_us_per_record": round(cpu * 1e6 / stored, 1)}
    print(f"  {stored} records of {figures['bytes_in_spool']} bytes in {took:.1f} s: {figures['records_per_second']} a second;"
          f" control plane {figures['control_plane_cpu_us_per_record']} us of processor time each")
    if postgres:
        size = postgres.bytes()
    else:
        size = megabytes(place.data_dir / "audit.sqlite") * 1e6
    figures["bytes_per_stored_record"] = round(size / stored)
    some = ids.read_text().split()
    figures["by_request_id_ms"] = timed([lambda id=id: place.kt("events", "show", id, "-o", "json", by="auditor")
                                         for id in some[:: max(1, len(some) // 20)][:20]])
    figures["blocks_of_a_day_by_policy_ms"] = timed(
        [lambda: place.kt("events", "stats", "--by", "policy", "--verdict", "block", "--since", "1d", "-o", "json", by="auditor")] * 10)
    # What a command costs that reads nothing of the store: start, connection, token.
    figures["command_itself_ms"] = timed([lambda: place.kt("auth", "whoami", by="auditor")] * 10)
    print(f"  {figures['bytes_per_stored_record']} bytes a stored record; by request id {figures['by_request_id_ms']} ms,"
          f" blocks of a day by policy {figures['blocks_of_a_day_by_policy_ms']} ms, as whole commands (a command that reads nothing:"
          f" {figures['command_itself_ms']} ms)")
    return figures


def timed(calls):
    took = []
    for call in calls:
        began = time.monotonic()
        call()
        took.append((time.monotonic() - began) * 1000)
    return round(statistics.median(took), 1)


def fdatasync_us(folder, times=300):
    """Percentiles of one small append with its fdatasync, as the log does them."""
    took = []
    with open(folder / "probe", "wb", buffering=0) as probe:
        for _ in range(times):
            probe.write(bytes(2048))
            began = time.perf_counter()
            os.fdatasync(probe.fileno())
            took.append((time.perf_counter() - began) * 1e6)
    (folder / "probe").unlink()
    took.sort()
    return round(took[len(took) // 2]), round(took[len(took) * 99 // 100])


def latency(place, rounds, seconds):
    """The same chain with records and without, by turns, one request at a time."""
    place.fake()
    gateways = {}
    without = place.pack(chain=[kind for kind in CHAIN if kind != "audit-logger"], name="none.yaml")
    packs = {"none": without, **{name: place.pack(durability=name, name=f"{name}.yaml") for name in ("best_effort", "block", "sync")}}
    for name, pack in packs.items():
        gateways[name] = place.gateway(f"gw-{name}", place.work / f"log-{name}", pack=pack)
        gateways[name].start()
    seen = {name: [] for name in gateways}
    for _ in range(rounds):
        for name, gateway in gateways.items():
            report = place.load(gateway, "--connections", 1, "--warm-up", 1, "--duration", seconds)
            seen[name].append((report["latency_us"]["p50"], report["latency_us"]["p99"]))
    p50, p99 = fdatasync_us(place.work)
    base = [statistics.median(values) for values in zip(*seen["none"])]
    figures = {"fdatasync_p50_us": p50, "fdatasync_p99_us": p99, "without_p50_us": base[0], "without_p99_us": base[1]}
    print(f"  fdatasync p50 {p50} us, p99 {p99} us; without records p50 {base[0]:.0f} us, p99 {base[1]:.0f} us")
    for name, values in seen.items():
        if name != "none":
            middle = [statistics.median(each) for each in zip(*values)]
            figures[f"{name}_added_p50_us"], figures[f"{name}_added_p99_us"] = middle[0] - base[0], middle[1] - base[1]
            print(f"  {name:12} added p50 {middle[0] - base[0]:>6.0f} us, p99 {middle[1] - base[1]:>6.0f} us, for two records a request")
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=["sqlite", "postgres", "latency"])
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-audit-", dir=os.environ.get("KT_BENCH_DIR")))
    wanted = options.only or ["latency", "sqlite", "postgres"]
    results = {}
    try:
        for part in wanted:
            print(f"\nlatency that records add, {options.rounds} rounds" if part == "latency" else f"\nspool → control plane → {part}", flush=True)
            with Place(options.bin_dir.resolve(), work / part) as place:
                results[part] = (latency(place, options.rounds, options.seconds) if part == "latency"
                                 else delivery(place, part, options.records))
            shutil.rmtree(work / part, ignore_errors=True)
        print()
        print(json.dumps(results))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
