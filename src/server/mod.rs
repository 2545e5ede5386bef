//! The admin listener: the status page, and the same as JSON.
//!
//! One page, self-contained, rendered on the server from what the warehouse says; it renews itself. To add a route: a
//! function here and a line in `router`.

mod page;

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::status::StatusReport;
use crate::warehouse::Warehouse;

/// What the routes need.
#[derive(Clone, Debug)]
struct Admin {
    warehouse: Warehouse,
    clock: SharedClock,
    accounts: Vec<String>,
}

/// The admin listener, bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    admin: Admin,
}

impl Server {
    /// Binds to `listen`; port 0 picks a free one. `accounts` are shown even if they were never synced.
    pub async fn bind(
        listen: SocketAddr,
        warehouse: Warehouse,
        clock: SharedClock,
        accounts: Vec<String>,
    ) -> std::io::Result<Self> {
        Ok(Self::on(TcpListener::bind(listen).await?, warehouse, clock, accounts))
    }

    /// The same on a listener that is bound already.
    pub fn on(listener: TcpListener, warehouse: Warehouse, clock: SharedClock, accounts: Vec<String>) -> Self {
        Self {
            listener,
            admin: Admin {
                warehouse,
                clock,
                accounts,
            },
        }
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled.
    pub async fn serve(self, stop: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, router(self.admin))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/api/v1/status", get(status))
        .with_state(admin)
}

async fn status_page(State(admin): State<Admin>) -> Response {
    match report(&admin).await {
        Ok(report) => match page::render(&report) {
            Ok(html) => ([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
            Err(error) => unavailable(&error),
        },
        Err(error) => unavailable(&error),
    }
}

async fn status(State(admin): State<Admin>) -> Response {
    match report(&admin).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn ready(State(admin): State<Admin>) -> Response {
    match admin.warehouse.schema_is_current().await {
        Ok(true) => "ready\n".into_response(),
        Ok(false) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the warehouse's tables are not those of this version\n",
        )
            .into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn report(admin: &Admin) -> Result<StatusReport, crate::warehouse::Error> {
    StatusReport::read(&admin.warehouse, &admin.accounts, admin.clock.now()).await
}

fn unavailable(error: &dyn std::error::Error) -> Response {
    tracing::warn!(%error, "the status page cannot be shown");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response()
}
