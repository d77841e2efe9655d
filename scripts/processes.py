"""What the scripts share: processes of this workspace and of others, started in a folder with a log each, waited for and
ended. Standard library only."""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Opens the fake workspace and nothing else.
UPSTREAM_TOKEN = "dapi" + "f" * 32


class Failed(SystemExit):
    """Something did not do what it should. Caught by nobody, it ends the script with its message."""


def check(holds, what):
    if not holds:
        raise Failed(what)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port, path="/"):
    """The status of an answer; `None`: there is none."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status
    return None


def wait_until(ready, what, process=None, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check(process is None or process.poll() is None, f"{what} ended before it was ready")
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            if ready():
                return
        time.sleep(0.02)
    raise Failed(f"{what} was not ready within {seconds} s")


def haproxy():
    """Debian keeps it in /usr/sbin, which is not on everyone's PATH."""
    found = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    check(found, "haproxy is not installed: scripts/setup.sh demo")
    return found


class Server:
    """A process with its place: what starts it, and how to tell that it answers. It can be killed and started again."""

    def __init__(self, owner, name, command, ready, environment, log):
        self.owner, self.name, self.command, self.ready = owner, name, command, ready
        self.environment, self.log = environment, log
        self.process = None

    def start(self, patience=60):
        """Starts it, and waits until it answers; 0: does not wait."""
        self.process = self.owner.start(self.name, self.command, self.environment, log=self.log)
        if patience:
            wait_until(self.ready, self.name, self.process, patience)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=90):
        """Ends it in order; its exit status, `None` where it had to be killed."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=seconds)
        self.kill()
        return None

    def cpu_seconds(self):
        return processor_seconds([self.process.pid])


def processor_seconds(pids):
    """What processes have spent so far."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


class Processes:
    """Starts things in a folder, and ends what it started, whatever happens."""

    def __init__(self, bin_dir, work):
        self.bin_dir, self.work = bin_dir, work
        self.processes = []
        work.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, name, arguments, environment=None, log=None, **more):
        with open(log or self.work / f"{name}.log", "ab") as output:
            process = subprocess.Popen(list(map(str, arguments)), env={**os.environ, **(environment or {})},
                                       **{"stdout": output, "stderr": output, **more})
        self.processes.append(process)
        return process

    def server(self, name, command, ready, environment=None, folder=None):
        """One that is not started yet."""
        return Server(self, name, command, ready, environment, (folder or self.work) / f"{name}.log")

    def stop(self, seconds=15):
        running = [process for process in reversed(self.processes) if process.poll() is None]
        for process in running:
            # One that is frozen takes no signal but this.
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
                continue
            process.kill()
            process.wait()

    def fake(self, *arguments, keep=0):
        """A fake Databricks that runs and remembers so many requests; `upstream` is its address."""
        port_file = self.work / "fake.port"
        fake = self.server("fake", [self.bin_dir / "kt-fake-databricks", "--listen", "127.0.0.1:0", "--token", UPSTREAM_TOKEN,
                                    "--port-file", port_file, "--keep", keep, *arguments],
                           lambda: port_file.exists() and port_file.read_text().strip())
        fake.start()
        self.upstream = port_file.read_text().strip()
        return fake
