//! A way to a server that can fall silent, as when a firewall forgets a connection or a machine loses its power: nobody is
//! told, and nothing arrives any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server.
pub(crate) struct Proxy {
    address: SocketAddr,
    silenced: watch::Sender<u32>,
    is_deaf: Arc<AtomicBool>,
}

impl Proxy {
    /// A way to whatever listens there.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silenced = watch::Sender::new(0);
        let is_deaf = Arc::new(AtomicBool::new(false));
        let (ways, deaf) = (silenced.clone(), Arc::clone(&is_deaf));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut silence, deaf) = (ways.subscribe(), deaf.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    if !deaf {
                        let mut far = TcpStream::connect(server).await.unwrap();
                        tokio::select! {
                            _ = copy_bidirectional(&mut near, &mut far) => return,
                            _ = silence.changed() => {}
                        }
                        // The far side would notice.
                        std::future::pending::<()>().await;
                        drop(far);
                    }
                    std::future::pending::<()>().await;
                    drop(near);
                });
            }
        });
        Self {
            address,
            silenced,
            is_deaf,
        }
    }

    /// Its own address.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes any more through the connections that there are; new ones are sound.
    pub(crate) fn silence(&self) {
        self.silenced.send_modify(|times| *times += 1);
    }

    /// Nothing passes any more at all.
    pub(crate) fn go_deaf(&self) {
        self.is_deaf.store(true, Ordering::Relaxed);
        self.silence();
    }
}
