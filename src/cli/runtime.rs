//! Running a subcommand's asynchronous part, and stopping it.

use std::future::Future;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` to its end, and waits for nothing else.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        // A file that may not grow is a full disk, and is told of like one; by itself, the signal kills.
        let _too_large = signal(SignalKind::from_raw(libc::SIGXFSZ)).context("cannot listen for signals")?;
        work.await
    });
    // Dropped, it would wait for the system's look-up of a name (getaddrinfo(3)), which nothing can interrupt.
    runtime.shutdown_background();
    done
}

/// A token that the first SIGINT or SIGTERM cancels. The second one ends the process at once, as an impatient user
/// expects.
pub(crate) fn cancelled_by_signal() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}
