//! Something between a program and the servers that it writes to, which says when the program is to be killed.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::lossy::read_request;

/// When it is to be killed, seen from a request that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Nobody has got the request yet, and nobody will.
    Before,
    /// It is carried out, and not answered.
    Within,
    /// It is answered.
    After,
}

/// It, for all its servers together.
#[derive(Default)]
pub(crate) struct Trap {
    /// How many requests are let pass, and what becomes of the next.
    set: Mutex<Option<(usize, Moment)>>,
    sprung: Notify,
}

impl Trap {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for the n-th request that writes, from 0.
    pub(crate) fn set(&self, nth: usize, moment: Moment) {
        *self.set.lock().unwrap() = Some((nth, moment));
    }

    /// Whether it still waits.
    pub(crate) fn waits(&self) -> bool {
        self.set.lock().unwrap().is_some()
    }

    /// Completes when the program is to be killed.
    pub(crate) async fn sprung(&self) {
        self.sprung.notified().await;
    }

    /// Starts one before the server at `url`, which is `http://HOST:PORT`; the URL to use instead.
    pub(crate) async fn before(self: &Arc<Self>, url: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let (trap, server) = (Arc::clone(self), url.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (trap, server) = (Arc::clone(&trap), server.clone());
                tokio::spawn(async move { trap.pass(stream, &server).await });
            }
        });
        own
    }

    async fn pass(&self, mut client: TcpStream, server: &str) -> std::io::Result<()> {
        let request = read_request(&mut client).await?;
        let moment = if request.starts_with(b"GET ") {
            None
        } else {
            self.count()
        };
        if moment == Some(Moment::Before) {
            self.sprung.notify_one();
            return client.read_to_end(&mut Vec::new()).await.map(drop);
        }
        let mut upstream = TcpStream::connect(server).await?;
        upstream.write_all(&request).await?;
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).await?;
        if moment == Some(Moment::Within) {
            self.sprung.notify_one();
            return client.read_to_end(&mut Vec::new()).await.map(drop);
        }
        client.write_all(&answer).await?;
        client.shutdown().await?;
        if moment == Some(Moment::After) {
            self.sprung.notify_one();
        }
        Ok(())
    }

    /// What becomes of this request.
    fn count(&self) -> Option<Moment> {
        let mut set = self.set.lock().unwrap();
        match &mut *set {
            Some((0, moment)) => {
                let moment = *moment;
                *set = None;
                Some(moment)
            }
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}
