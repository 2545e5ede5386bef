-- What was on stock, one row for each SKU and warehouse of each snapshot; warehouse is empty where the system does not tell
-- warehouses apart. NULL is "not known", never "none". Stock is the company's, and no account's: account is empty.
CREATE TABLE stock_levels (
    account TEXT NOT NULL,
    connector TEXT NOT NULL,
    captured_at TIMESTAMPTZ NOT NULL,
    sku TEXT NOT NULL,
    warehouse TEXT NOT NULL,
    name TEXT,
    uom TEXT,
    warehouse_name TEXT,
    on_hand NUMERIC,
    available NUMERIC,
    as_of TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, connector, captured_at, sku, warehouse)
);
CREATE INDEX stock_levels_by_sku ON stock_levels (account, sku, captured_at);

-- How the snapshots of a connector stand: the last that was begun, behind which SKU it goes on, which program is at it (a lease, as
-- in jobs), and which was the last that was complete.
CREATE TABLE stock_snapshots (
    account TEXT NOT NULL,
    connector TEXT NOT NULL,
    begun_at TIMESTAMPTZ,
    after_sku TEXT,
    skus BIGINT NOT NULL DEFAULT 0,
    holder TEXT,
    expires_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    complete_at TIMESTAMPTZ,
    error TEXT,
    PRIMARY KEY (account, connector)
);

CREATE VIEW stock_levels_latest AS
SELECT l.*
FROM stock_levels l
JOIN stock_snapshots s ON s.account = l.account AND s.connector = l.connector AND s.complete_at = l.captured_at;
