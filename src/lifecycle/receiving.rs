//! The public listener of a daemon.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Error, WEBHOOKS_LISTEN};
use crate::app::App;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::webhooks::{Inbox, Receiver, Senders};

/// The listener at work, and what stores its events; dropped, both stop.
#[derive(Debug)]
pub(super) struct Public {
    pub(super) senders: watch::Sender<Senders>,
    clock: SharedClock,
    stop: CancellationToken,
    receiving: JoinHandle<()>,
    storing: JoinHandle<()>,
}

impl Public {
    /// Begins to serve on a listener that is bound.
    pub(super) fn serve(
        listener: TcpListener,
        app: &App,
        config: &Config,
        arrived: &Arc<Notify>,
    ) -> Result<Self, Error> {
        let (inbox, storing) = Inbox::new(app.warehouse.clone(), Arc::clone(arrived));
        let senders = watch::Sender::new(Senders::of(config));
        let receiver = Receiver::on(listener, senders.subscribe(), inbox, Arc::clone(&app.clock));
        let address = receiver.address().map_err(|source| Error::Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            key: WEBHOOKS_LISTEN,
            source,
        })?;
        tracing::info!("webhooks are received at http://{address}/webhooks/allai/ACCOUNT");
        let stop = CancellationToken::new();
        Ok(Self {
            senders,
            clock: Arc::clone(&app.clock),
            receiving: tokio::spawn(receiver.serve(stop.clone())),
            // It ends when nobody hands anything in any more: what is under way is still answered.
            storing: tokio::spawn(storing.run()),
            stop,
        })
    }

    /// Answers what is under way, and takes no more. What takes longer than `within` is given up, and nobody was told that it is
    /// stored.
    pub(super) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        let clock = Arc::clone(&self.clock);
        let all = async {
            for (what, task) in [("receiving", &mut self.receiving), ("storing", &mut self.storing)] {
                if let Err(error) = task.await {
                    tracing::error!("{what} webhooks broke off: {error}; please report this");
                }
            }
        };
        if let Either::Right(_) = select(pin!(all), clock.sleep(within)).await {
            tracing::warn!("the database took no more events in time; their senders were told to come again");
        }
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        self.stop.cancel();
        self.receiving.abort();
        self.storing.abort();
    }
}
