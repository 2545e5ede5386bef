//! What stands between a program and its database, and can fall silent: nothing is refused, nothing answers.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// A way to a server.
pub(crate) struct Proxy {
    /// The server's URL, by this way.
    pub(crate) url: String,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    is_silent: bool,
    /// Connections that were made before the last severing.
    severed: u32,
}

impl Proxy {
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let state = watch::Sender::new(State::default());
        let known = state.subscribe();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, known.clone()));
                tokio::spawn(pass(from_server, to_client, known.clone()));
            }
        });
        Self { url: url.into(), state }
    }

    /// From now on nothing passes, or what was held back and all that follows.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.state.send_modify(|state| state.is_silent = silent);
    }

    /// Nothing ever passes again through the connections that there are, as when a firewall forgets them or a machine
    /// loses its power; new ones are sound.
    pub(crate) fn sever(&self) {
        self.state.send_modify(|state| state.severed += 1);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut known: watch::Receiver<State>) {
    let severed = known.borrow().severed;
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let is_open = known.wait_for(|state| !state.is_silent && state.severed == severed);
        if is_open.await.is_err() || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
