#!/usr/bin/env python3
"""Mirrors the contacts of an AllAI account into SQLite: the script that the benchmarks compare allai-sync with.

It is what a competent person writes in an afternoon, without tricks for or against it: one session that keeps its
connection, pages of 100 by limit and offset, one upsert statement for a page, one commit a page, WAL. It does not look whether
rows were lost, finds no deletions, keeps no history and knows no rate limit.

    reference.py BASE_URL DATABASE
"""

import json
import sqlite3
import sys

import requests

PAGE = 100

TABLE = """
CREATE TABLE IF NOT EXISTS contacts (
    id TEXT PRIMARY KEY,
    name TEXT,
    email TEXT,
    phone TEXT,
    tags TEXT,
    custom_fields TEXT,
    created_at TEXT,
    updated_at TEXT
)
"""

UPSERT = """
INSERT INTO contacts (id, name, email, phone, tags, custom_fields, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name,
    email = excluded.email,
    phone = excluded.phone,
    tags = excluded.tags,
    custom_fields = excluded.custom_fields,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at
"""


def values(contact):
    return (
        contact["id"],
        contact.get("name"),
        contact.get("email"),
        contact.get("phone"),
        json.dumps(contact.get("tags"), ensure_ascii=False),
        json.dumps(contact.get("custom_fields"), ensure_ascii=False),
        contact.get("created_at"),
        contact.get("updated_at"),
    )


def main():
    base_url, path = sys.argv[1:]
    session = requests.Session()
    session.headers["Authorization"] = "Bearer benchmark"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(TABLE)
    offset = 0
    while True:
        response = session.get(f"{base_url}/contacts", params={"limit": PAGE, "offset": offset}, timeout=30)
        response.raise_for_status()
        contacts = response.json()["data"]
        if not contacts:
            break
        database.executemany(UPSERT, [values(contact) for contact in contacts])
        database.commit()
        offset += len(contacts)
    database.close()
    print(offset)


if __name__ == "__main__":
    main()
