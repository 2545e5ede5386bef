//! Something between a connector and a real system that counts, loses and delays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// The request that has this in it is carried out, and its answer lost.
    Lost(String),
    /// The next one is answered by a page with status 500, and not carried out.
    Failed,
    /// All are answered after so long.
    Stalled(Duration),
}

/// It, one request a connection.
pub(crate) struct Lossy {
    pub(crate) url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    fate: Mutex<Option<Fate>>,
    count: AtomicUsize,
}

impl Lossy {
    /// Loses the answer to the next request that has `word` in it.
    pub(crate) fn lose(&self, word: &str) {
        *self.state.fate.lock().unwrap() = Some(Fate::Lost(format!("\"{word}\"")));
    }

    /// Lets the next request fail.
    pub(crate) fn fail_next(&self) {
        *self.state.fate.lock().unwrap() = Some(Fate::Failed);
    }

    /// Delays all requests from now on.
    pub(crate) fn stall(&self, delay: Duration) {
        *self.state.fate.lock().unwrap() = Some(Fate::Stalled(delay));
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.state.count.load(Ordering::Relaxed)
    }
}

/// Starts one before the server at `url`, which is `http://HOST:PORT`.
pub(crate) async fn start(url: &str) -> Lossy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lossy = Lossy {
        url: format!("http://{}", listener.local_addr().unwrap()),
        state: Arc::default(),
    };
    let (state, server) = (Arc::clone(&lossy.state), url.trim_start_matches("http://").to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (state, server) = (Arc::clone(&state), server.clone());
            tokio::spawn(async move { pass(stream, &server, &state).await });
        }
    });
    lossy
}

async fn pass(mut client: TcpStream, server: &str, state: &State) -> std::io::Result<()> {
    let request = read_request(&mut client).await?;
    state.count.fetch_add(1, Ordering::Relaxed);
    let fate = {
        let mut fate = state.fate.lock().unwrap();
        match &*fate {
            Some(Fate::Lost(word)) if !String::from_utf8_lossy(&request).contains(word.as_str()) => None,
            Some(Fate::Stalled(_)) => fate.clone(),
            _ => fate.take(),
        }
    };
    if fate == Some(Fate::Failed) {
        let page = "<!DOCTYPE html><title>500 Internal Server Error</title>";
        let head = "HTTP/1.1 500 X\r\nconnection: close\r\ncontent-type: text/html\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{page}", page.len());
        client.write_all(answer.as_bytes()).await?;
        return client.shutdown().await;
    }
    if let Some(Fate::Stalled(delay)) = fate {
        #[expect(clippy::disallowed_methods, reason = "a server that takes its time")]
        tokio::time::sleep(delay).await;
    }
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&request).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if !matches!(fate, Some(Fate::Lost(_))) {
        client.write_all(&answer).await?;
    }
    client.shutdown().await
}

/// The whole request, to be answered on a connection that is closed then.
pub(crate) async fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).await?;
    let mut request = head.trim_end().to_owned().into_bytes();
    request.extend_from_slice(b"\r\nconnection: close\r\n\r\n");
    request.extend_from_slice(&body);
    Ok(request)
}
