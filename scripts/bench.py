"""Latency and processor time of the gateway with the full chain on, beside direct calls and nginx in the same run.

Prints a table and a JSON line. Standard library only; needs nginx (scripts/setup.sh bench installs it).
Processor time per request is the figure to compare between machines; latency is that of this machine, now.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from processes import ROOT, UPSTREAM_TOKEN, Processes, answers, free_port, processor_seconds, wait_until

NGINX = """
worker_processes 2;
daemon off;
pid {work}/nginx.pid;
error_log {work}/nginx-error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {work}/nginx-body;
    proxy_temp_path {work}/nginx-proxy;
    fastcgi_temp_path {work}/nginx-fastcgi;
    uwsgi_temp_path {work}/nginx-uwsgi;
    scgi_temp_path {work}/nginx-scgi;
    keepalive_requests 10000000;
    upstream fake {{ server 127.0.0.1:{fake}; keepalive 256; keepalive_requests 10000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location /v1/ {{
            proxy_pass http://fake/serving-endpoints/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {token}";
            proxy_buffering off;
        }}
    }}
}}
"""


def resident_mib(pids):
    pages = sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def children(pid):
    listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


class Bench(Processes):
    def __init__(self, bin_dir, work, seconds):
        super().__init__(bin_dir, work)
        self.seconds = seconds

    def load(self, url, pids, headers=(), connections=1, rate=None, stream=False):
        arguments = [self.bin_dir / "kt-load", url, "--connections", connections, "--duration", self.seconds, "--warm-up", 1]
        arguments += ["--body", self.work / ("stream.json" if stream else "body.json")]
        for header in headers:
            arguments += ["--header", header]
        if rate:
            arguments += ["--rate", rate]
        before = processor_seconds(pids)
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=True)
        spent = processor_seconds(pids) - before
        figures = json.loads(done.stdout)
        answered = max(1, figures["completed"] + figures["warm_up"])
        return {
            "rps": figures["rps"],
            "p50_us": figures["latency_us"]["p50"],
            "p99_us": figures["latency_us"]["p99"],
            "first_byte_p50_us": figures["first_byte_us"]["p50"],
            "first_byte_p99_us": figures["first_byte_us"]["p99"],
            "failed": sum(figures["errors"].values()),
            "server_cpu_us_per_request": round(spent * 1e6 / answered, 1),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin-dir", type=pathlib.Path, required=True)
    parser.add_argument("--seconds", type=int, default=8)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="kt-bench-"))
    bench = Bench(options.bin_dir.resolve(), work, options.seconds)
    prompt = ("Explain how the nightly job joins orders with returns and why the totals differ by region. " * 12)[:1024]
    body = {"model": "databricks-meta-llama-3-3-70b-instruct", "messages": [{"role": "user", "content": prompt}], "max_tokens": 64}
    (work / "body.json").write_text(json.dumps(body))
    (work / "stream.json").write_text(json.dumps({**body, "stream": True}))
    try:
        bench.fake()
        fake = int(bench.upstream.rsplit(":", 1)[1])

        nginx_port = free_port()
        (work / "nginx.conf").write_text(NGINX.format(work=work, fake=fake, port=nginx_port, token=UPSTREAM_TOKEN))
        nginx = bench.start("nginx", [shutil.which("nginx") or "/usr/sbin/nginx", "-c", work / "nginx.conf", "-p", work])
        wait_until(lambda: answers(nginx_port), "nginx", nginx)

        keys = work / "keys.json"
        made = subprocess.run([bench.bin_dir / "kt", "gateway-key", "create", "--keys-file", keys, "--user", "bench",
                               "--role", "data-scientist", "-o", "json"], capture_output=True, text=True, check=True)
        key = json.loads(made.stdout)["key"]
        gateway_port = free_port()
        gateway = bench.start(
            "gateway",
            [bench.bin_dir / "kt", "gateway", "run", "--listen", f"127.0.0.1:{gateway_port}", "--admin-listen", f"127.0.0.1:{free_port()}",
             "--policy-config", ROOT / "examples/demo.yaml", "--upstream", f"*=http://127.0.0.1:{fake}",
             "--keys-file", keys, "--require-identity", "--audit-dir", work / "audit"],
            {"DATABRICKS_TOKEN": UPSTREAM_TOKEN})
        wait_until(lambda: answers(gateway_port, "/readyz") == 200, "the gateway", gateway)

        nginx_pids = [nginx.pid, *children(nginx.pid)]
        direct = [f"Authorization: Bearer {UPSTREAM_TOKEN}"]
        mine = [f"Authorization: Bearer {key}"]
        ways = {
            "direct": (f"http://127.0.0.1:{fake}/serving-endpoints/chat/completions", [], direct),
            "nginx": (f"http://127.0.0.1:{nginx_port}/v1/chat/completions", nginx_pids, []),
            "kt": (f"http://127.0.0.1:{gateway_port}/v1/chat/completions", [gateway.pid], mine),
        }
        results = {}
        for title, settings in (("one connection", {"connections": 1}), ("16 connections", {"connections": 16}),
                                ("one connection, streamed", {"connections": 1, "stream": True})):
            print(f"\n{title}, 1 KiB prompt, full chain on kt")
            print(f"  {'':8}{'rps':>9}{'p50 µs':>9}{'p99 µs':>9}{'cpu µs/request':>16}{'failed':>8}")
            results[title] = {}
            for name, (url, pids, headers) in ways.items():
                figures = bench.load(url, pids, headers, **settings)
                results[title][name] = figures
                print(f"  {name:8}{figures['rps']:>9.0f}{figures['p50_us']:>9.0f}{figures['p99_us']:>9.0f}"
                      f"{figures['server_cpu_us_per_request'] if pids else '':>16}{figures['failed']:>8}")
            base = results[title]["direct"]
            for name in ("nginx", "kt"):
                figures = results[title][name]
                print(f"  added by {name}: p50 {figures['p50_us'] - base['p50_us']:.0f} µs, p99 {figures['p99_us'] - base['p99_us']:.0f} µs")
        print(f"\nkt resident memory: {resident_mib([gateway.pid]):.0f} MiB")
        print(json.dumps(results))
    finally:
        bench.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
