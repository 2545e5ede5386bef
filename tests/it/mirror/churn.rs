//! An account that changes with every request.

use allai_sync::sandbox::{ChurnKind, Options, Order};

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases!(once_the_account_rests_three_full_syncs_are_enough);

async fn once_the_account_rests_three_full_syncs_are_enough(database: Database) {
    // Each database is given half of the orders, for time's sake: the sweep knows nothing of databases.
    let orders = if database.is_sqlite() {
        [Order::CreatedDesc, Order::UpdatedAsc]
    } else {
        [Order::UpdatedDesc, Order::CreatedAsc]
    };
    let mut options = Options::for_tests(160, 25);
    options.account.messages_per_conversation = Some(3);
    // So few deletions that the brake lets them pass.
    options.churn.churn_kinds = vec![
        ChurnKind::Insert,
        ChurnKind::Insert,
        ChurnKind::Update,
        ChurnKind::Update,
        ChurnKind::Touch,
        ChurnKind::Touch,
        ChurnKind::Touch,
        ChurnKind::Delete,
    ];
    let mirror = Mirror::start(database, options).await;
    for order in orders {
        mirror.sandbox.set_options(|options| {
            options.shape.order = order;
            options.churn.churn = 1;
        });
        let name = format!("{order:?}").to_lowercase();
        mirror.configure(&mirror.account_config(&name, "page_size = 20\n"));
        let still_there = mirror.sandbox.account().contact_ids();
        mirror.sync().await;
        // What was there before and after was there throughout: it is not lost, and not taken for deleted.
        let after = mirror.sandbox.account().contact_ids();
        let live = format!("SELECT id FROM contacts WHERE account = '{name}' AND deleted_at IS NULL");
        let live = mirror.database.rows(&live).await;
        let live: Vec<String> = live.iter().map(|row| row.text("id").to_owned()).collect();
        for id in still_there.iter().filter(|id| after.contains(id)) {
            assert!(live.contains(id), "{order:?}: {id} is lost");
        }
        mirror.full_sync().await;
        mirror.sync().await;

        mirror.sandbox.set_options(|options| options.churn.churn = 0);
        mirror.full_sync().await;
        mirror.full_sync().await;
        mirror.full_sync().await.verified();
        mirror.assert_account_exact(&name).await;
    }
}
