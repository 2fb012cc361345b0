//! Which application answers with a status and headers that the test sets, over HTTP/1.1 and HTTP/2?

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;

use crate::support::hyper_app::application;
use crate::support::scripted;

/// The next answer of the application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Mutex<(u16, HeaderMap)>>);

impl Script {
    pub(crate) fn set(&self, status: u16, lines: &[(&str, &str)]) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                HeaderValue::from_str(value).expect("a value"),
            );
        }
        *self.0.lock().expect("the script") = (status, headers);
    }

    fn get(&self) -> (u16, HeaderMap) {
        self.0.lock().expect("the script").clone()
    }

    /// Starts an application in HTTP/1.1.
    pub(crate) fn http1(&self) -> SocketAddr {
        let script = self.clone();
        scripted::serve(move |mut stream| {
            use std::io::Write as _;
            while scripted::head(&mut stream).is_some() {
                let (status, headers) = script.get();
                let mut answer = format!("HTTP/1.1 {status} X\r\n");
                for (name, value) in &headers {
                    let value = value.to_str().expect("text");
                    answer.extend([name.as_str(), ": ", value, "\r\n"]);
                }
                let rest = if status == 304 {
                    "\r\n"
                } else {
                    "content-length: 2\r\n\r\nok"
                };
                answer.push_str(rest);
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    /// Starts an application in HTTP/2 and returns its port.
    pub(crate) fn h2c(&self) -> u16 {
        let script = self.clone();
        application(None, move |_| {
            let (status, headers) = script.get();
            async move {
                let mut answer = Response::new(Full::new(Bytes::from_static(b"ok")));
                *answer.status_mut() = status.try_into().expect("a status");
                *answer.headers_mut() = headers;
                answer
            }
        })
    }
}
