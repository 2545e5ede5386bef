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
    silent: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn to(url: &str) -> Self {
        let mut url = Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let silent = watch::Sender::new(false);
        let is_silent = silent.subscribe();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, is_silent.clone()));
                tokio::spawn(pass(from_server, to_client, is_silent.clone()));
            }
        });
        Self {
            url: url.into(),
            silent,
        }
    }

    /// From now on nothing passes, or what was held back and all that follows.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_silent: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        if is_silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}
