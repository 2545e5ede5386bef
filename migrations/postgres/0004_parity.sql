-- Parity audits: the mirror compared with the API, row by row and column by column, after each verified sweep and on
-- demand. differences lists the first rows that differ, as JSON: ids and column names, never a value.
CREATE TABLE parity_audits (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    audited_at TIMESTAMPTZ NOT NULL,
    trigger TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('sample', 'full')),
    verdict TEXT NOT NULL CHECK (verdict IN ('equal', 'behind', 'differs', 'noted')),
    as_of TIMESTAMPTZ,
    rows_api BIGINT,
    rows_mirror BIGINT NOT NULL,
    rows_compared BIGINT NOT NULL,
    rows_differing BIGINT NOT NULL,
    rows_pending BIGINT NOT NULL,
    rows_unlisted BIGINT NOT NULL,
    differences JSONB NOT NULL,
    requests BIGINT NOT NULL,
    PRIMARY KEY (account, resource, audited_at)
);

-- How each resource stands, for reports: how fresh, how complete, when it was last proven and last compared.
CREATE VIEW mirror_health AS
SELECT k.account, k.resource, s.last_complete_at,
       CASE WHEN s.last_complete_at IS NOT NULL
            THEN CAST(greatest(0, EXTRACT(EPOCH FROM now() - s.last_complete_at)) AS BIGINT) END AS freshness_seconds,
       s.last_verified_at AS last_proved_at, a.audited_at AS last_audited_at, a.scope AS audit_scope, a.verdict,
       a.rows_mirror, a.rows_api,
       CASE WHEN a.rows_api = 0 THEN CAST(1 AS DOUBLE PRECISION) ELSE CAST(a.rows_mirror AS DOUBLE PRECISION) / a.rows_api END AS completeness,
       a.rows_compared, a.rows_differing, a.rows_pending
FROM (SELECT account, resource FROM sync_state UNION SELECT account, resource FROM parity_audits) k
LEFT JOIN sync_state s ON s.account = k.account AND s.resource = k.resource
LEFT JOIN parity_audits a ON a.account = k.account AND a.resource = k.resource AND a.audited_at = (
    SELECT max(l.audited_at) FROM parity_audits l WHERE l.account = k.account AND l.resource = k.resource
);
