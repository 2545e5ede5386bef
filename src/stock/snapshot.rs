//! What there is of everything, now and then, for reports.

use std::sync::Arc;

use allai_connectors::{Connector, Erp, Error, Figures, Stock};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config;
use crate::metrics;
use crate::schedule::{Holder, next_tick};
use crate::warehouse::{self, StockLevel, StockSnapshot, Warehouse};

/// SKUs that are asked for, and stored, at a time.
const PIECE: usize = 500;

/// One `[stock_snapshots.NAME]`, ready to run.
#[derive(Debug)]
pub struct Snapshots {
    connector: String,
    options: config::StockSnapshots,
    /// Sorted; empty: all that the system lists.
    skus: Vec<String>,
    erp: Arc<dyn Connector>,
    warehouse: Warehouse,
    clock: SharedClock,
    holder: Holder,
}

/// What became of a run.
#[derive(Debug)]
pub enum Ended {
    /// There is a new snapshot, of so many SKUs.
    Complete(u64),
    /// Another program is at it, or the run was told to stop: it is gone on with later.
    Left,
    /// It broke off, and is to be gone on with soon.
    Failed(String),
}

impl Snapshots {
    /// What a section of the configuration says, with its connector.
    pub fn new(
        connector: &str,
        options: &config::StockSnapshots,
        erp: Arc<dyn Connector>,
        warehouse: &Warehouse,
        clock: &SharedClock,
    ) -> Self {
        let mut skus: Vec<String> = options.skus.iter().map(|sku| sku.trim().to_owned()).collect();
        skus.sort();
        skus.dedup();
        Self {
            connector: connector.to_owned(),
            options: options.clone(),
            skus,
            erp,
            warehouse: warehouse.clone(),
            clock: Arc::clone(clock),
            holder: Holder::new("stock"),
        }
    }

    /// The connector's name.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// When the next snapshot is to be taken: now, if none was ever, or one did not end.
    ///
    /// # Errors
    ///
    /// If the warehouse cannot be asked.
    pub async fn due_at(&self) -> Result<Option<DateTime<Utc>>, warehouse::Error> {
        let state = self.warehouse.stock_snapshot(&self.connector).await?;
        if let Some(at) = state.as_ref().and_then(|state| state.complete_at) {
            metrics::stock_snapshot(&self.connector, at);
        }
        Ok(match state.as_ref().map(|state| (state.begun_at, state.under_way())) {
            Some((Some(begun_at), None)) => self.tick_after(begun_at),
            _ => Some(self.clock.now()),
        })
    }

    fn tick_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        next_tick(&self.options.schedule, self.options.timezone.0, at)
    }

    /// Takes the snapshot that is due, or goes on with the one that did not end. What goes wrong is in `stock_snapshots`, too.
    pub async fn run(&self, stop: &CancellationToken) -> Ended {
        let ended = tokio::select! {
            biased;
            ended = self.take() => ended,
            () = stop.cancelled() => Ok(Ended::Left),
        };
        let (told, ended) = match ended {
            Ok(ended @ Ended::Complete(_)) => {
                self.forget().await;
                return ended;
            }
            Ok(Ended::Failed(error)) => (Some(error.clone()), Ended::Failed(error)),
            Ok(Ended::Left) => (None, Ended::Left),
            Err(warehouse::Error::TakenOver) => return Ended::Left,
            Err(error) => (Some(error.to_string()), Ended::Failed(error.to_string())),
        };
        let holder = self.holder.as_str();
        let given_back = self
            .warehouse
            .break_off_stock_snapshot(&self.connector, holder, told.as_deref())
            .await;
        if let Err(error) = given_back {
            tracing::debug!(%error, "the snapshots of stock are not given back; the lease runs out");
        }
        ended
    }

    async fn take(&self) -> Result<Ended, warehouse::Error> {
        let (connector, holder) = (self.connector.as_str(), self.holder.as_str());
        let claimed = self
            .warehouse
            .claim_stock_snapshot(connector, holder, Holder::is_dead)
            .await?;
        let state = match claimed {
            Ok(state) => state,
            Err(other) => {
                tracing::debug!(connector.name = connector, "{other} takes a snapshot of stock just now");
                return Ok(Ended::Left);
            }
        };
        let Some(erp) = self.erp.erp() else {
            return Ok(Ended::Failed(format!("connectors.{connector} knows no stock")));
        };
        let Some((captured_at, mut after, mut taken)) = self.begin(&state).await? else {
            self.warehouse.break_off_stock_snapshot(connector, holder, None).await?;
            return Ok(Ended::Left);
        };
        loop {
            let piece = match self.piece(erp, after.as_deref()).await {
                Ok(piece) => piece,
                Err(error) => return Ok(Ended::Failed(error.to_string())),
            };
            let Some(last) = piece.skus.last() else {
                break;
            };
            self.warehouse
                .store_stock_levels(connector, holder, captured_at, &piece.levels, piece.skus.len(), last)
                .await?;
            taken += piece.skus.len() as u64;
            after = Some(last.clone());
        }
        self.warehouse.finish_stock_snapshot(connector, holder).await?;
        Ok(Ended::Complete(taken))
    }

    /// The snapshot to take, behind which SKU it goes on, and how many it has; nothing if none is due, because somebody else was
    /// faster.
    async fn begin(
        &self,
        state: &StockSnapshot,
    ) -> Result<Option<(DateTime<Utc>, Option<String>, u64)>, warehouse::Error> {
        let now = self.clock.now();
        let next = state.begun_at.and_then(|begun_at| self.tick_after(begun_at));
        let is_over = state.begun_at.is_none() || next.is_some_and(|next| next <= now);
        match state.under_way() {
            Some(begun_at) if !is_over => {
                let skus = u64::try_from(state.skus).unwrap_or_default();
                return Ok(Some((begun_at, state.after_sku.clone(), skus)));
            }
            None if !is_over => return Ok(None),
            _ => {}
        }
        let captured_at = now
            .trunc_subsecs(0)
            .max(state.begun_at.unwrap_or_default() + TimeDelta::seconds(1));
        self.warehouse
            .begin_stock_snapshot(&self.connector, self.holder.as_str(), captured_at, state.under_way())
            .await?;
        Ok(Some((captured_at, None, 0)))
    }

    /// The next SKUs, and what there is of them.
    async fn piece(&self, erp: &dyn Erp, after: Option<&str>) -> Result<Piece, Error> {
        let skus = if self.options.skus.is_empty() {
            erp.skus(after, PIECE).await?
        } else {
            let behind = self
                .skus
                .iter()
                .filter(|sku| after.is_none_or(|after| sku.as_str() > after));
            behind.take(PIECE).cloned().collect()
        };
        if skus.is_empty() {
            return Ok(Piece::default());
        }
        let asked_at = self.clock.now();
        let stock = erp.stock(&skus).await?;
        let mut levels = Vec::new();
        for of_one in stock.chunk_by(|one, other| one.asked == other.asked) {
            match of_one {
                [one] => levels.extend(lines(one, asked_at)),
                // Which is meant is not guessed.
                several => tracing::warn!(
                    connector.name = self.connector,
                    "{} products have one SKU; none of them is in the snapshot",
                    several.len()
                ),
            }
        }
        Ok(Piece { skus, levels })
    }

    async fn forget(&self) {
        let keep = TimeDelta::from_std(self.options.keep).unwrap_or(TimeDelta::MAX);
        let Some(before) = self.clock.now().checked_sub_signed(keep) else {
            return;
        };
        loop {
            match self.warehouse.forget_stock_levels(&self.connector, before).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "old snapshots of stock are not forgotten; trying again after the next");
                    return;
                }
            }
        }
    }
}

#[derive(Default)]
struct Piece {
    skus: Vec<String>,
    levels: Vec<StockLevel>,
}

/// What there is of a product, warehouse by warehouse; in all, if the system does not tell them apart.
fn lines(stock: &Stock, asked_at: DateTime<Utc>) -> Vec<StockLevel> {
    let line = |warehouse: &str, warehouse_name: Option<&String>, figures: &Figures| StockLevel {
        sku: stock.item.sku.clone(),
        name: stock.item.name.clone(),
        uom: stock.uom.clone(),
        warehouse: warehouse.to_owned(),
        warehouse_name: warehouse_name.cloned(),
        on_hand: figures.on_hand.map(|figure| figure.to_string()),
        available: figures.available.map(|figure| figure.to_string()),
        as_of: stock.as_of.unwrap_or(asked_at),
    };
    if stock.warehouses.is_empty() {
        return vec![line("", None, &stock.total)];
    }
    let of = |one: &allai_connectors::Warehouse| line(&one.code, one.name.as_ref(), &one.figures);
    stock.warehouses.iter().map(of).collect()
}
