//! HTTP/2 against a server built on `h2`, so that a test controls each stream.

mod calls;
mod connections;
mod flow;
mod heads;
mod times;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use http_body::Frame;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::settings;
use crate::proxy::{Address, Proxy, Settings};

/// One request, as a server receives it.
struct Asked {
    /// The number of its connection.
    connection: usize,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Asked {
    /// Sends an answer with this body.
    fn answer(mut self, response: Response<()>, body: &'static str) {
        let mut stream = self.respond.send_response(response, body.is_empty());
        if !body.is_empty() {
            let stream = stream.as_mut().unwrap();
            stream.send_data(Bytes::from(body), true).unwrap();
        }
    }

    /// Sends the head of an answer. The body follows.
    fn begin(&mut self) -> SendStream<Bytes> {
        let head = Response::new(());
        self.respond.send_response(head, false).unwrap()
    }

    /// All bytes of the request's body, and its trailers.
    async fn body(&mut self) -> (String, Option<http::HeaderMap>) {
        let body = self.request.body_mut();
        let mut bytes = Vec::new();
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            bytes.extend_from_slice(&piece);
        }
        let trailers = body.trailers().await.unwrap();
        (String::from_utf8(bytes).unwrap(), trailers)
    }
}

/// The reason with which the other side resets a stream.
async fn reset(stream: &mut SendStream<Bytes>) -> h2::Reason {
    poll_fn(|cx| stream.poll_reset(cx)).await.unwrap()
}

/// Listens, and serves each connection with this function, which gets the number of the connection.
async fn listening<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    beside(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            beside(serve(number, stream));
        }
    });
    port
}

/// A server that permits this many streams for each connection, and handles each request with this function.
async fn serving<F>(streams: u32, play: impl Fn(Asked) -> F + Send + Sync + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let play = Arc::new(play);
    listening(move |connection, stream| {
        let play = Arc::clone(&play);
        async move {
            let mut builder = Builder::new();
            let server = builder.max_concurrent_streams(streams).handshake(stream);
            let mut server = server.await.unwrap();
            while let Some(Ok((request, respond))) = server.accept().await {
                beside(play(Asked {
                    connection,
                    request,
                    respond,
                }));
            }
        }
    })
    .await
}

/// Runs concurrently until the end of the test.
fn beside(task: impl Future<Output = ()> + Send + 'static) {
    drop(Handle::current().spawn(task));
}

fn multiplexed(port: u16) -> Settings {
    Settings {
        upstream: Address::H2c {
            host: "127.0.0.1".to_owned(),
            port,
        },
        ..settings(port)
    }
}

fn proxy(port: u16) -> Proxy {
    Proxy::new(&multiplexed(port)).unwrap()
}

/// A gRPC call with this body.
fn call<B>(body: B) -> Request<B> {
    Request::post("/orders.Orders/Watch")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

/// A request body that a test feeds piece by piece.
fn fed() -> (mpsc::Sender<Bytes>, Fed) {
    let (feed, pieces) = mpsc::channel(1);
    (feed, Fed(pieces))
}

#[derive(Debug)]
struct Fed(mpsc::Receiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let piece = std::task::ready!(self.0.poll_recv(cx));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Increments the counter. Returns its earlier value.
fn next(count: &AtomicUsize) -> usize {
    count.fetch_add(1, Ordering::SeqCst)
}
