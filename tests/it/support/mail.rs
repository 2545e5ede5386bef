//! A mail server that keeps what it is given.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// Takes mail as RFC 5321 says, without TLS, and keeps it.
pub(crate) async fn mail_server(mails: Arc<Mutex<Vec<String>>>) -> String {
    strict_mail_server(mails, "nothing").await
}

/// The same, but refuses the commands and the mails that contain a text.
pub(crate) async fn strict_mail_server(mails: Arc<Mutex<Vec<String>>>, refused: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let mails = Arc::clone(&mails);
            tokio::spawn(async move {
                let (read, mut write) = connection.into_split();
                let mut lines = BufReader::new(read).lines();
                write.write_all(b"220 test\r\n").await.unwrap();
                let mut mail: Option<String> = None;
                while let Ok(Some(line)) = lines.next_line().await {
                    let answer: &[u8] = match &mut mail {
                        Some(text) if line == "." && text.contains(refused) => {
                            mail = None;
                            b"550 not this one\r\n"
                        }
                        Some(text) if line == "." => {
                            mails.lock().unwrap().push(std::mem::take(text));
                            mail = None;
                            b"250 taken\r\n"
                        }
                        Some(text) => {
                            text.extend([line.as_str(), "\n"]);
                            continue;
                        }
                        None if line.contains(refused) => b"550 nobody\r\n",
                        None if line == "DATA" => {
                            mail = Some(String::new());
                            b"354 go on\r\n"
                        }
                        None if line.starts_with("QUIT") => b"221 bye\r\n",
                        None => b"250 ok\r\n",
                    };
                    if write.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("smtp://{address}")
}
