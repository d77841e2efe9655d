"""kill -9 under load: every request that a client saw complete must be in the log, and the chain must verify.

Prints one JSON line. The oracle is the load generator's file of completed ids, not the gateway's own counters.
"""

import argparse
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from processes import ROOT, UPSTREAM_TOKEN, Processes, answers, free_port


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-kill9-"))
    try:
        with Processes(options.bin_dir.resolve(), work) as place:
            return run(place, options.rounds)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(place, rounds):
    ids, audit = place.work / "ids", place.work / "audit"
    place.fake()
    # One port for all of its lives: what is left of a killed one does not stand in the way of the next.
    port = free_port()
    gateway = place.server(
        "gateway",
        [place.bin_dir / "kt", "gateway", "run", "--listen", f"127.0.0.1:{port}", "--admin-listen", "127.0.0.1:0",
         "--upstream", f"*=http://{place.upstream}", "--policy-config", ROOT / "examples/seed/databricks-providers-1.yaml",
         "--audit-dir", audit],
        lambda: answers(port, "/readyz") == 200, {"DATABRICKS_TOKEN": UPSTREAM_TOKEN})
    for number in range(rounds):
        gateway.start()
        load = place.start("load", [place.bin_dir / "kt-load", f"http://127.0.0.1:{port}/v1/chat/completions",
                                    "--connections", 16, "--warm-up", 0, "--duration", 10, "--ids", ids])
        time.sleep(0.7 + 0.3 * number)
        gateway.kill()
        load.send_signal(signal.SIGINT)
        load.wait()
    # The last start recovers; its log is read once it has ended in order.
    gateway.start()
    gateway.stop()
    completed = [line.split()[0] for line in ids.read_text().splitlines() if line.strip()]
    listed = subprocess.run([place.bin_dir / "kt", "events", "list", "--audit-dir", audit, "--limit", "10000000", "-o", "json"],
                            capture_output=True, text=True, check=True).stdout.splitlines()
    records = [json.loads(line) for line in listed]
    stored = [record["id"] for record in records]
    verified = subprocess.run([place.bin_dir / "kt", "audit", "verify", "--audit-dir", audit], capture_output=True, text=True)
    lost = set(completed) - set(stored)
    print(json.dumps({
        "kills": rounds,
        "completed": len(completed),
        "stored": len(stored),
        "interrupted": sum(record["end"] == "interrupted" for record in records),
        "duplicates": len(stored) - len(set(stored)),
        "lost": len(lost),
        "chain": "intact" if verified.returncode == 0 else verified.stdout,
    }))
    return 0 if not lost and verified.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
