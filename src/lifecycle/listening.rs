//! The admin listener of a daemon.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ADMIN_LISTEN, Error};
use crate::app::App;
use crate::metrics::Exporter;
use crate::schedule::Scheduler;
use crate::server::{Schedules, Server, Settings};

/// The listener at work; dropped, it stops.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) settings: Arc<watch::Sender<Settings>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Binds the address, which the configuration gives under a key.
pub(super) async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address, key, source })
}

impl Listener {
    /// Begins to serve on a listener that is bound.
    pub(super) fn serve(
        listener: TcpListener,
        app: &App,
        settings: Arc<watch::Sender<Settings>>,
        scheduler: &Scheduler,
    ) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(|source| Error::Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            key: ADMIN_LISTEN,
            source,
        })?;
        let server = Server::on(
            listener,
            app.warehouse.clone(),
            Arc::clone(&app.clock),
            settings.subscribe(),
        );
        let server = server.with_metrics(Exporter::install()).with_schedules(Schedules {
            woken: scheduler.waker(),
            health: scheduler.health(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(stop.clone()));
        Ok(Self {
            address,
            settings,
            stop,
            task,
        })
    }

    /// Takes a second at most.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!("the admin listener broke off: {error}; please report this");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
