#!/usr/bin/env python3
"""Receives AllAI's webhooks into SQLite: the script that the benchmark of webhooks compares allai-sync with.

It is what a competent person writes in an afternoon: the standard library's threading server, the signature checked over the
raw body, one insert and one commit an event with synchronous=FULL, since an event that was answered must not be lost.

    reference_receiver.py PORT DATABASE SECRET
"""

import hashlib
import hmac
import json
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, path, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
lock = threading.Lock()
database = sqlite3.connect(path, check_same_thread=False)
database.execute("PRAGMA journal_mode=WAL")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, event TEXT, body TEXT)")
database.commit()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        digest = hmac.new(secret, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(digest, self.headers.get("x-allai-signature", "")):
            return self.answer(401)
        event = json.loads(body)
        with lock:
            database.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", (event["id"], event["event"], body.decode()))
            database.commit()
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", port), Receiver).serve_forever()
