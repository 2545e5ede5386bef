"""What the benchmarks measure with: the API server, a PostgreSQL of their own, and a process's time and memory."""

import json
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A benchmark that cannot be run, with what to do about it."""


class Api:
    """The API server of `benches/api`, with these options, while the `with` block lasts."""

    def __init__(self, program, **options):
        words = [str(program)]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            words += [flag] if value is True else [f"{flag}={value}"]
        self.words = words

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, text=True)
        self.root = self.process.stdout.readline().strip()
        if not self.root:
            raise Failed(f"the API server did not start: {' '.join(self.words)}")
        self.base_url = self.root + "/v2"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def reset(self):
        """Counts afresh."""
        urllib.request.urlopen(urllib.request.Request(self.root + "/bench/reset", method="POST")).read()

    def stats(self):
        """What it counted since it was last reset."""
        return json.load(urllib.request.urlopen(self.root + "/bench/stats"))

    def cpu_seconds(self):
        """CPU time it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


class Postgres:
    """A PostgreSQL server as it comes (so fsync is on), in `folder`, while the `with` block lasts."""

    def __init__(self, folder):
        self.folder = folder / "postgres"
        self.bin = postgres_programs()
        # PostgreSQL refuses to run as root.
        self.prefix = as_another_user() if os.getuid() == 0 else []

    def __enter__(self):
        self.folder.mkdir()
        if self.prefix:
            user = pwd.getpwnam(self.prefix[2])
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.port = free_port()
        data = self.folder / "data"
        self.call("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
        options = f"-p {self.port} -h 127.0.0.1 -k ''"
        self.call("pg_ctl", "-D", data, "-l", self.folder / "log", "-w", "-o", options, "start")
        return self

    def __exit__(self, *_):
        self.call("pg_ctl", "-D", self.folder / "data", "-m", "fast", "-w", "stop")
        remove(self.folder)

    def call(self, program, *arguments):
        words = self.prefix + [str(self.bin / program)] + [str(argument) for argument in arguments]
        done = subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, cwd=self.folder, text=True
        )
        if done.returncode != 0:
            raise Failed(f"{program} failed: {done.stderr.strip()}")

    def url(self, database="postgres"):
        return f"postgres://postgres@127.0.0.1:{self.port}/{database}"

    def query(self, sql, database="postgres"):
        """Runs `sql`; returns the first value, as text."""
        words = [str(self.bin / "psql"), "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url(database)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"psql failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def fresh_database(self, name):
        self.query(f"DROP DATABASE IF EXISTS {name}")
        self.query(f"CREATE DATABASE {name}")
        return self.url(name)

    def settle(self, database):
        """Does now what PostgreSQL would do some time later, so that it does not happen in the next measurement."""
        self.query("VACUUM ANALYZE", database)
        self.query("CHECKPOINT")

    def wal_position(self):
        """Bytes of WAL written since the server was created."""
        return int(self.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


class Tryton:
    """A real Tryton, installed as its tests do; it counts its requests in its log."""

    def __init__(self, folder, options):
        target = options.target or Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
        installed = target / "tmp" / "tryton"
        subprocess.run([str(ROOT / "connectors" / "tests" / "tryton" / "install"), str(installed)], check=True)
        self.folder = folder / "tryton"
        self.folder.mkdir()
        shutil.copy(installed / "erp.sqlite", self.folder / "erp.sqlite")
        self.python = str(installed / "venv" / "bin" / "python")
        self.trytond = str(installed / "venv" / "bin" / "trytond")

    def __enter__(self):
        self.address = f"127.0.0.1:{free_port()}"
        config = self.folder / "trytond.conf"
        config.write_text(f"[database]\nuri = sqlite://\npath = {self.folder}\n[web]\nlisten = {self.address}\n")
        self.log = self.folder / "log"
        with open(self.log, "w") as said:
            words = [self.python, self.trytond, "-v", "-c", str(config), "-d", "erp"]
            self.server = subprocess.Popen(words, stdout=said, stderr=said)
        wait_for_port(int(self.address.rsplit(":", 1)[1]))
        return self

    def requests(self):
        return self.log.read_text().count('POST /erp/')

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()


class Sandbox:
    """`allai-sync sandbox` with these options, and visitors who write."""

    def __init__(self, program, folder, **options):
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v2"
        self.words = [str(program), "sandbox", "--listen", f"127.0.0.1:{self.port}", "--contacts", "50", "--conversations", "10"]
        for name, value in options.items():
            self.words += ["--" + name.replace("_", "-"), str(value)]
        self.log = folder / "sandbox.log"

    def __enter__(self):
        with open(self.log, "w") as said:
            self.server = subprocess.Popen(self.words, stdout=said, stderr=said)
        wait_for_port(self.port)
        for _ in range(500):
            if "everything" in self.log.read_text():
                break
            time.sleep(0.01)
        lines = self.log.read_text().splitlines()
        key = lambda which: next(line.split()[-1] for line in lines if line.strip().startswith(which))
        self.key, self.read_key, self.write_key = key("everything"), key("read only"), key("write only")
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()

    def call(self, path, body=None, key=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.base_url + path, data, headers)) as answer:
            return json.load(answer)

    def register(self, url, secret):
        self.call("/webhooks", {"url": url, "events": ["message.received"], "secret": secret})

    def wait_for_syncs(self, file):
        for _ in range(3_000):
            connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
            try:
                if connection.execute("SELECT count(*) FROM sync_runs WHERE resource = 'messages'").fetchone()[0]:
                    return
            except sqlite3.OperationalError:
                pass
            finally:
                connection.close()
            time.sleep(0.02)
        raise Failed("the first sync does not end")

    def say(self, question):
        """Says something in a new conversation, and returns its id. By a key of its own, which has a budget of its own."""
        opened = {"chatbot_id": "cb_abc123", "visitor": {"name": "Ana"}, "channel": "api"}
        conversation = self.call("/conversations", opened, self.write_key)["id"]
        said = {"content": question, "role": "visitor", "type": "text"}
        self.call(f"/conversations/{conversation}/messages", said, self.write_key)
        return conversation

    def answers(self, conversation, key=None):
        page = self.call(f"/conversations/{conversation}/messages?limit=100", key=key)
        rows = page if isinstance(page, list) else next(rows for rows in page.values() if isinstance(rows, list))
        return sum(row["role"] == "agent" for row in rows)

    def ask(self, question, count, every):
        """Asks in a new conversation each time; returns how many milliseconds each answer took that was given, and given once."""
        waits, threads = {}, []

        def one():
            conversation = self.say(question)
            begun = time.monotonic()
            while time.monotonic() < begun + 20:
                if self.answers(conversation):
                    waits[conversation] = (time.monotonic() - begun) * 1_000
                    return

        for _ in range(count):
            threads.append(threading.Thread(target=one))
            threads[-1].start()
            time.sleep(every)
        for thread in threads:
            thread.join()
        return [wait for conversation, wait in waits.items() if self.answers(conversation) == 1]


def postgres_programs():
    candidates = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(versions, key=lambda folder: folder.parent.name.zfill(4), reverse=True)
    for folder in candidates:
        if all((folder / program).is_file() for program in ("initdb", "pg_ctl", "psql")):
            return folder
    raise Failed("PostgreSQL is not installed: initdb, pg_ctl and psql are needed (Debian: apt-get install postgresql)")


def as_another_user():
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", "--reuid", name, "--regid", str(user.pw_gid), "--clear-groups", "--"]
    raise Failed("root cannot run PostgreSQL, and there is no user named postgres or nobody")


def metric(port, name):
    """The sum of the samples whose name begins so, of the daemon whose admin listener is on this port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def resident_memory(pid):
    """In bytes."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port):
    for _ in range(500):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise Failed(f"nobody listens on port {port}")


@dataclass
class Measured:
    """A process that has ended."""

    output: str
    # Wall-clock time, and the CPU time of the process alone.
    seconds: float
    cpu_seconds: float
    # The largest resident set, VmHWM.
    peak_mib: float


def measure(words, cwd):
    """Runs a command; fails if the command does."""
    started = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watch = PeakMemory(process.pid)
    outputs = {}

    def drain(name, pipe):
        outputs[name] = pipe.read()

    drains = [
        threading.Thread(target=drain, args=(name, pipe))
        for name, pipe in (("out", process.stdout), ("err", process.stderr))
    ]
    for thread in drains:
        thread.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    for thread in drains:
        thread.join()
    if process.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))} ended with {process.returncode}: {outputs['err'].strip()}\n{outputs['out']}")
    return Measured(outputs["out"], seconds, usage.ru_utime + usage.ru_stime, watch.peak(usage.ru_maxrss))


class PeakMemory:
    """Reads a process's VmHWM until the process is gone.

    The kernel's own figure at the end (ru_maxrss) is exact, but a child inherits its parent's peak in it; it counts where it is
    larger than ours, which it inherited.
    """

    def __init__(self, pid):
        self.status = f"/proc/{pid}/status"
        self.seen_kib = 0
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        try:
            while True:
                with open(self.status) as status:
                    peaks = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
                if not peaks:
                    return
                self.seen_kib = max(self.seen_kib, peaks[0])
                time.sleep(0.02)
        except (OSError, ValueError):
            return

    def peak(self, maxrss_kib):
        self.thread.join()
        with open("/proc/self/status") as status:
            own_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
        exact = maxrss_kib > own_kib
        return (max(maxrss_kib, self.seen_kib) if exact else self.seen_kib) / 1024


def drop_files(path):
    """Removes a SQLite file and what belongs to it."""
    for suffix in ("", "-wal", "-shm", "-interim"):
        Path(str(path) + suffix).unlink(missing_ok=True)


def machine():
    """The machine, in a line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, {os.uname().sysname} {os.uname().release}, load {os.getloadavg()[0]:.1f}"


def say(text=""):
    print(text, flush=True)


def need_requests():
    try:
        import requests  # noqa: F401
    except ImportError:
        raise Failed("the reference script needs requests: pip install requests") from None


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit("run benches/run")
