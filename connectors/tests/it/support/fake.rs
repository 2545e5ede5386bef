//! A vendor that is not there: a tiny HTTP server, one request a connection, and a count of requests that forgives nothing.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allai_connectors::http::Rate;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) method: String,
    pub(crate) path: String,
    query: Vec<(String, String)>,
    head: String,
    pub(crate) body: String,
}

impl Asked {
    /// A parameter of the query, decoded.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The names of all parameters.
    pub(crate) fn params(&self) -> Vec<&str> {
        self.query.iter().map(|(key, _)| key.as_str()).collect()
    }

    /// The segments of the path below `/api`, decoded.
    pub(crate) fn segments(&self) -> Vec<String> {
        let below = self.path.strip_prefix("/api").unwrap_or(&self.path);
        let decoded = |segment: &str| {
            let pair = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
            let (_, value) = url::form_urlencoded::parse(pair.as_bytes()).next().unwrap();
            value.into_owned()
        };
        below.trim_start_matches('/').split('/').map(decoded).collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// A field of a body that is a form.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// What is answered: a status and a body.
pub(crate) type Answer = (u16, String);

/// What is answered with headers of its own; or nothing, the connection is closed.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    WithHeaders(Answer, Vec<(&'static str, String)>),
    Nothing,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Starts a server, below `/api`, that answers so.
pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Url {
    start_replying(move |asked| Reply::Answer(answer(asked))).await
}

/// Starts a server, below `/api`, that answers so, or does not.
pub(crate) async fn start_replying(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { serve(stream, |asked| answer(asked)).await });
        }
    });
    url.parse().unwrap()
}

async fn serve(mut stream: TcpStream, answer: impl FnOnce(&Asked) -> Reply) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = Url::parse(&format!("http://fake{}", words.next().unwrap_or_default())).unwrap();
    let mut asked = Asked {
        at: now(),
        method,
        path: target.path().to_owned(),
        query: target.query_pairs().into_owned().collect(),
        head,
        body: String::new(),
    };
    let length = asked.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    asked.body = String::from_utf8_lossy(&body).into_owned();
    let ((status, body), headers) = match answer(&asked) {
        Reply::Answer(answer) => (answer, Vec::new()),
        Reply::WithHeaders(answer, headers) => (answer, headers),
        Reply::Nothing => return Ok(()),
    };
    let length = body.len();
    let headers: String = headers
        .iter()
        .flat_map(|(name, value)| [name, ": ", value, "\r\n"])
        .collect();
    let head = format!(
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    stream.shutdown().await
}

/// The vendors' limit, in a twentieth of the time.
pub(crate) fn short() -> Rate {
    Rate {
        requests: NonZeroU32::new(3).unwrap(),
        per: Duration::from_millis(50),
    }
}

/// 30 requests in 10 s.
pub(crate) fn thirty() -> Rate {
    Rate {
        requests: NonZeroU32::new(30).unwrap(),
        per: Duration::from_secs(10),
    }
}

/// Counts requests as a vendor does that blocks who exceeds its limits, for good.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Vec<Rate>,
    seen: VecDeque<Instant>,
    /// How many came before the connector that asks now.
    before: usize,
    blocked: bool,
}

impl Gate {
    pub(crate) fn new(limits: &[Rate]) -> Self {
        Self {
            limits: limits.to_vec(),
            seen: VecDeque::new(),
            before: 0,
            blocked: false,
        }
    }

    /// Another connector begins, which knows nothing of the requests of those before it.
    pub(crate) fn begin_anew(&mut self) {
        self.before = self.seen.len();
    }

    /// Counts a request, and says whether it is let through.
    pub(crate) fn lets_through(&mut self, at: Instant) -> bool {
        self.seen.push_back(at);
        for limit in &self.limits {
            let of_one = self.seen.iter().skip(self.before);
            let recent = of_one.filter(|seen| at.duration_since(**seen) < limit.per);
            self.blocked |= recent.count() > limit.requests.get() as usize;
        }
        !self.blocked
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.seen.len()
    }
}

pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a vendor counts by a clock of its own")]
    Instant::now()
}
