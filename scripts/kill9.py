"""kill -9 under load: every request that a client saw complete must be in the log, and the chain must verify.

Prints one JSON line. The oracle is the load generator's file of completed ids, not the gateway's own counters.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from bench import ROOT, TOKEN, free_port, wait_for


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    binaries = options.bin_dir.resolve()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-kill9-"))
    port_file, ids, audit = work / "fake.port", work / "ids", work / "audit"
    fake = subprocess.Popen([binaries / "kt-fake-databricks", "--listen", "127.0.0.1:0", "--token", TOKEN,
                             "--port-file", port_file, "--keep", "0"], stdout=subprocess.DEVNULL)
    gateway = None
    try:
        while not (port_file.exists() and port_file.read_text().strip()):
            time.sleep(0.02)
        upstream = f"*=http://{port_file.read_text().strip()}"

        def start(port):
            arguments = [binaries / "kt", "gateway", "run", "--listen", f"127.0.0.1:{port}",
                         "--admin-listen", f"127.0.0.1:{free_port()}", "--upstream", upstream,
                         "--policy-config", ROOT / "examples/seed/databricks-providers-1.yaml", "--audit-dir", audit]
            process = subprocess.Popen(list(map(str, arguments)), stderr=subprocess.DEVNULL,
                                       env={**os.environ, "DATABRICKS_TOKEN": TOKEN})
            wait_for(port, "/readyz")
            return process

        for number in range(options.rounds):
            port = free_port()
            gateway = start(port)
            load = subprocess.Popen([binaries / "kt-load", f"http://127.0.0.1:{port}/v1/chat/completions",
                                     "--connections", "16", "--warm-up", "0", "--duration", "10", "--ids", ids],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.7 + 0.3 * number)
            gateway.kill()
            gateway.wait()
            load.send_signal(signal.SIGINT)
            load.wait()
        # The last start recovers; its log is read once it has ended in order.
        gateway = start(free_port())
        gateway.send_signal(signal.SIGTERM)
        gateway.wait()
        completed = [line.split()[0] for line in ids.read_text().splitlines() if line.strip()]
        listed = subprocess.run([binaries / "kt", "events", "list", "--audit-dir", audit, "--limit", "10000000", "-o", "json"],
                                capture_output=True, text=True, check=True).stdout.splitlines()
        records = [json.loads(line) for line in listed]
        stored = [record["id"] for record in records]
        verified = subprocess.run([binaries / "kt", "audit", "verify", "--audit-dir", audit], capture_output=True, text=True)
        lost = set(completed) - set(stored)
        print(json.dumps({
            "kills": options.rounds,
            "completed": len(completed),
            "stored": len(stored),
            "interrupted": sum(record["end"] == "interrupted" for record in records),
            "duplicates": len(stored) - len(set(stored)),
            "lost": len(lost),
            "chain": "intact" if verified.returncode == 0 else verified.stdout,
        }))
        return 0 if not lost and verified.returncode == 0 else 1
    finally:
        for process in (gateway, fake):
            if process and process.poll() is None:
                process.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
