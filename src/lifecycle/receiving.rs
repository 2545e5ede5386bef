//! The public listener of a daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Error, WEBHOOKS_LISTEN};
use crate::app::App;
use crate::config::Config;
use crate::webhooks::{Inbox, Receiver, Senders};

/// The listener at work, and what stores its events; dropped, both stop.
#[derive(Debug)]
pub(super) struct Public {
    pub(super) senders: watch::Sender<Senders>,
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
            receiving: tokio::spawn(receiver.serve(stop.clone())),
            // It ends when nobody hands anything in any more: what is under way is still answered.
            storing: tokio::spawn(storing.run()),
            stop,
        })
    }

    /// Answers what is under way, and takes no more.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        for (what, task) in [("receiving", &mut self.receiving), ("storing", &mut self.storing)] {
            if let Err(error) = task.await {
                tracing::error!("{what} webhooks broke off: {error}; please report this");
            }
        }
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        self.stop.cancel();
        self.storing.abort();
    }
}
