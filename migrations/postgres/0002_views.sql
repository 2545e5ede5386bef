-- Views for reports: the same names and columns in SQLite and Postgres. Only live rows count; days are UTC.

-- Every version of every contact, superseded ones and the current one (valid_to is NULL, or when it was deleted).
CREATE VIEW contacts_versions AS
SELECT account, id, name, email, phone, tags, custom_fields, created_at, updated_at, extra, content_hash, first_seen_at,
       changed_at, deleted_at, valid_from, valid_to
FROM contacts_history
UNION ALL
SELECT account, id, name, email, phone, tags, custom_fields, created_at, updated_at, extra, content_hash, first_seen_at,
       changed_at, deleted_at, changed_at AS valid_from, deleted_at AS valid_to
FROM contacts;

-- Every version of every conversation, superseded ones and the current one (valid_to is NULL, or when it was deleted).
CREATE VIEW conversations_versions AS
SELECT account, id, chatbot_id, contact_id, visitor_name, visitor_email, visitor, channel, status, resolution, metadata,
       created_at, updated_at, closed_at, extra, content_hash, first_seen_at, changed_at, deleted_at, valid_from, valid_to
FROM conversations_history
UNION ALL
SELECT account, id, chatbot_id, contact_id, visitor_name, visitor_email, visitor, channel, status, resolution, metadata,
       created_at, updated_at, closed_at, extra, content_hash, first_seen_at, changed_at, deleted_at, changed_at AS valid_from, deleted_at AS valid_to
FROM conversations;

-- How fresh each resource is: last complete and last verified sync, rows, the last run and what is in quarantine.
CREATE VIEW freshness AS
SELECT k.account, k.resource, s.last_complete_at, s.last_verified_at, coalesce(s.rows, 0) AS rows,
       r.status AS last_run_status, r.finished_at AS last_run_at, r.error AS last_error,
       (SELECT count(*) FROM quarantine q WHERE q.account = k.account AND q.resource = k.resource) AS quarantined
FROM (SELECT account, resource FROM sync_state UNION SELECT account, resource FROM sync_runs) k
LEFT JOIN sync_state s ON s.account = k.account AND s.resource = k.resource
LEFT JOIN sync_runs r ON r.account = k.account AND r.id = (
    SELECT l.id FROM sync_runs l WHERE l.account = k.account AND l.resource = k.resource
    ORDER BY l.finished_at DESC, l.id DESC LIMIT 1
);

-- Conversations by the day they started and their channel: how many, how many are closed, how many were resolved.
CREATE VIEW conversations_per_day AS
SELECT account, (created_at AT TIME ZONE 'UTC')::date AS day, coalesce(channel, 'unknown') AS channel,
       count(*) AS conversations,
       count(*) FILTER (WHERE status = 'closed' OR closed_at IS NOT NULL) AS closed,
       count(*) FILTER (WHERE lower(resolution) LIKE 'resolved%') AS resolved
FROM conversations
WHERE deleted_at IS NULL AND created_at IS NOT NULL
GROUP BY 1, 2, 3;

-- How conversations ended, by the day they started and their channel, and how long they took to close.
CREATE VIEW resolution AS
SELECT account, (created_at AT TIME ZONE 'UTC')::date AS day, coalesce(channel, 'unknown') AS channel,
       count(*) AS conversations,
       count(*) FILTER (WHERE status = 'closed' OR closed_at IS NOT NULL) AS closed,
       count(*) FILTER (WHERE lower(resolution) LIKE 'resolved%bot%') AS resolved_by_bot,
       count(*) FILTER (WHERE lower(resolution) LIKE 'resolved%' AND lower(resolution) NOT LIKE '%bot%')
           AS resolved_by_human,
       count(*) FILTER (WHERE lower(resolution) LIKE '%hand%off%' OR lower(resolution) LIKE '%transfer%')
           AS handed_off,
       count(*) FILTER (WHERE lower(resolution) LIKE 'unresolved%' OR lower(resolution) LIKE 'abandoned%')
           AS unresolved,
       avg(CAST(EXTRACT(EPOCH FROM closed_at - created_at) AS DOUBLE PRECISION) / 60) AS avg_minutes_to_close
FROM conversations
WHERE deleted_at IS NULL AND created_at IS NOT NULL
GROUP BY 1, 2, 3;

-- For each conversation: the visitor's first message, the first answer to it, by whom, and the seconds in between.
CREATE VIEW response_times AS
WITH asked AS (
    SELECT account, conversation_id, min(sent_at) AS first_visitor_message_at
    FROM messages
    WHERE deleted_at IS NULL AND lower(role) IN ('visitor', 'user', 'customer') AND sent_at IS NOT NULL
    GROUP BY account, conversation_id
)
SELECT a.account, a.conversation_id, c.channel, a.first_visitor_message_at,
       m.sent_at AS first_answer_at, m.role AS answered_by,
       CAST(EXTRACT(EPOCH FROM m.sent_at - a.first_visitor_message_at) AS DOUBLE PRECISION) AS seconds
FROM asked a
LEFT JOIN conversations c ON c.account = a.account AND c.id = a.conversation_id
LEFT JOIN LATERAL (
    SELECT sent_at, role
    FROM messages
    WHERE account = a.account AND conversation_id = a.conversation_id AND deleted_at IS NULL
      AND lower(role) NOT IN ('visitor', 'user', 'customer', 'system') AND sent_at >= a.first_visitor_message_at
    ORDER BY sent_at, id
    LIMIT 1
) m ON TRUE
WHERE c.deleted_at IS NULL;

-- Leads (contacts tagged `lead`) by each of their other tags and by where they came from: the contact's own source
-- or utm_source, else that of the metadata of the contact's first conversation that has one.
CREATE VIEW leads AS
WITH lead AS (
    SELECT c.account, c.id, c.tags,
           coalesce(
               c.custom_fields ->> 'source', c.custom_fields ->> 'utm_source',
               c.extra ->> 'source', c.extra ->> 'utm_source',
               (SELECT coalesce(v.metadata ->> 'source', v.metadata ->> 'utm_source')
                FROM conversations v
                WHERE v.account = c.account AND v.contact_id = c.id AND v.deleted_at IS NULL
                  AND coalesce(v.metadata ->> 'source', v.metadata ->> 'utm_source') IS NOT NULL
                ORDER BY v.created_at, v.id LIMIT 1),
               'unknown') AS source
    FROM contacts c
    WHERE c.deleted_at IS NULL AND EXISTS (
        SELECT 1 FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(c.tags) = 'array' THEN c.tags ELSE '[]' END) AS t (value) WHERE lower(t.value) = 'lead'
    )
)
SELECT l.account, coalesce(t.value, '(none)') AS tag, l.source, count(DISTINCT l.id) AS contacts
FROM lead l
LEFT JOIN LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(l.tags) = 'array' THEN l.tags ELSE '[]' END) AS t (value) ON lower(t.value) <> 'lead'
GROUP BY 1, 2, 3;

-- The topics of each captured overview, with their rank (1 is the most frequent).
CREATE VIEW topics_over_time AS
SELECT account, captured_on, period, topic, count,
       rank() OVER (PARTITION BY account, captured_on, period ORDER BY count DESC) AS rank
FROM analytics_topics;

-- Messages by day and role.
CREATE VIEW messages_per_day AS
SELECT account, (sent_at AT TIME ZONE 'UTC')::date AS day, coalesce(role, 'unknown') AS role, count(*) AS messages
FROM messages
WHERE deleted_at IS NULL AND sent_at IS NOT NULL
GROUP BY 1, 2, 3;
