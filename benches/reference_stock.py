#!/usr/bin/env python3
"""Looks up stock in Tryton: the script that the benchmark of stock compares allai-sync with.

It is what a competent person writes in an hour: a session, a search by code in each warehouse for every lookup, eight at a time, since
a chatbot's users do not wait for one another. Standard library alone.

    reference_stock.py HOST:PORT LOOKUPS SKU...
"""

import base64
import itertools
import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

address, lookups, skus = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def call(method, params, session=None):
    body = json.dumps({"id": 1, "method": method, "params": params}).encode()
    headers = {"content-type": "application/json"}
    if session:
        headers["authorization"] = b"Session " + base64.b64encode(session.encode())
    request = urllib.request.Request(f"http://{address}/erp/rpc/", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        told = json.load(answer)
    return told["result"] if isinstance(told, dict) and "result" in told else told


user, key, *_ = call("common.db.login", ["allai", {"password": "pw-Demo-2-allai"}])
session = f"allai:{user}:{key}"
warehouses = call("model.stock.location.search", [[["type", "=", "warehouse"]], 0, None, None, {}], session)


def look_up(sku):
    fields = ["code", "quantity", "forecast_quantity"]
    return [
        call("model.product.product.search_read", [[["code", "=", sku]], 0, None, None, fields, {"locations": [place]}], session)
        for place in warehouses
    ]


began = time.monotonic()
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(look_up, itertools.islice(itertools.cycle(skus), lookups)))
print(json.dumps({"seconds": time.monotonic() - began, "found": sum(any(places) for places in found)}))
