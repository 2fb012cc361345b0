//! The load generator. A closed loop: each connection sends its next request after the complete previous answer.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;

/// The request, its number and its destination.
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) connections: u64,
    pub(crate) budget: Budget,
}

/// The end of a run.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    /// After this number of answers in total.
    Requests(u64),
    /// After this time.
    Time(Duration),
}

impl Load {
    /// Runs to the end of the budget. An answer other than 200 is an error.
    pub(crate) async fn run(&self) -> Outcome<String> {
        let request = Rc::new(self.request());
        let began = Instant::now();
        let left = Rc::new(match self.budget {
            Budget::Requests(count) => Left::Requests(Cell::new(count)),
            Budget::Time(span) => Left::Until(began + span),
        });
        let mut open = JoinSet::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.to).await?;
            stream.set_nodelay(true)?;
            open.spawn_local(ask(stream, Rc::clone(&request), Rc::clone(&left)));
        }
        let mut spans = Vec::new();
        while let Some(asked) = open.join_next().await {
            spans.append(&mut asked?.map_err(|error| error.to_string())?);
        }
        let took = began.elapsed();
        spans.sort_unstable();
        Ok(format!(
            "{{\"requests\":{},\"micros\":{},\"p50\":{},\"p99\":{}}}",
            spans.len(),
            took.as_micros(),
            percentile(&spans, 50),
            percentile(&spans, 99),
        ))
    }

    fn request(&self) -> Vec<u8> {
        let (path, to) = (&self.path, self.to);
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nhost: {to}\r\nuser-agent: guard-bench/1\r\n\
             accept: application/json\r\naccept-encoding: gzip, br\r\n"
        );
        if let Some(token) = &self.token {
            head.push_str("authorization: Bearer ");
            head.push_str(token);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

enum Left {
    Requests(Cell<u64>),
    Until(Instant),
}

impl Left {
    fn take(&self) -> bool {
        match self {
            Self::Until(end) => Instant::now() < *end,
            Self::Requests(count) => {
                let before = count.get();
                count.set(before.saturating_sub(1));
                before > 0
            }
        }
    }
}

/// Runs one connection. Returns the duration of each exchange in microseconds.
async fn ask(mut stream: TcpStream, request: Rc<Vec<u8>>, left: Rc<Left>) -> Result<Vec<u64>, Bad> {
    let mut spans = Vec::new();
    let mut heard = Vec::with_capacity(16 * 1024);
    while left.take() {
        let began = Instant::now();
        stream.write_all(&request).await.map_err(Bad::Lost)?;
        heard.clear();
        let mut whole = None;
        while whole.is_none_or(|length| heard.len() < length) {
            if stream.read_buf(&mut heard).await.map_err(Bad::Lost)? == 0 {
                return Err(Bad::Closed);
            }
            if whole.is_none() {
                whole = length(&heard)?;
            }
        }
        let span = began.elapsed().as_micros();
        spans.push(u64::try_from(span).unwrap_or(u64::MAX));
    }
    Ok(spans)
}

/// The length of the complete answer, if its head has arrived.
fn length(heard: &[u8]) -> Result<Option<usize>, Bad> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = head.parse(heard) else {
        return Ok(None);
    };
    if head.code != Some(200) {
        return Err(Bad::Status(head.code.unwrap_or_default()));
    }
    let mut fields = head.headers.iter();
    let field = fields.find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let text = field.and_then(|field| std::str::from_utf8(field.value).ok());
    let body: usize = text.and_then(|text| text.parse().ok()).ok_or(Bad::Length)?;
    Ok(Some(end + body))
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).copied().unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error("the connection broke: {0}")]
    Lost(std::io::Error),
    #[error("the connection was closed")]
    Closed,
    #[error("the answer was {0}")]
    Status(u16),
    #[error("the answer has no length")]
    Length,
}
