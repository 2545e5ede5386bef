-- How far a reading is since the checkpoint in sync_state that it continues (told by a digest): what was read since changed
-- nothing. Unlogged: a crash of the server empties it, and the reading goes on from its checkpoint.
CREATE UNLOGGED TABLE interim_checkpoints (
    account TEXT NOT NULL,
    resource TEXT NOT NULL,
    continues TEXT NOT NULL,
    checkpoint TEXT NOT NULL,
    PRIMARY KEY (account, resource)
);
