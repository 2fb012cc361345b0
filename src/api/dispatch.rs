//! Which handler answers a call, and which methods does a path have?

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::Full;

use crate::api::call::Call;
use crate::api::dialect::{Dialect, Route};
use crate::api::error::ApiError;
use crate::api::wire::body;
use crate::api::wire::cors::Cors;
use crate::api::wire::reply::Answer;

/// Answers a call. Its body is read here, after its route is found and before its handler is called.
///
/// # Errors
///
/// When the path or the method does not exist, when the body cannot be read, and when the handler refuses.
pub async fn answer<B>(dialect: &dyn Dialect, mut call: Call, body: B) -> Result<Answer, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: std::fmt::Display,
{
    if call.method == Method::OPTIONS {
        let cors = Cors::of(&call.mount, &call.headers);
        let answer = options(dialect, &call.path)?;
        return Ok(cors.preflight(answer, dialect.request_headers()));
    }
    let route = find(dialect, &call.method, &call.path)?;
    if route.has_body() {
        call.body = body::read(body, call.state.settings.max_body).await?;
    }
    (route.handler)(call).await
}

/// Answers `OPTIONS`: the methods of a path.
fn options(dialect: &dyn Dialect, path: &str) -> Result<Answer, ApiError> {
    let pattern = pattern(dialect, path).ok_or(ApiError::NotFound)?;
    let allow = allow(dialect, pattern);
    if is_check(dialect, path) {
        return Err(ApiError::MethodNotAllowed { allow });
    }
    let mut answer = Answer::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(value) = HeaderValue::from_str(&allow) {
        answer.headers_mut().insert(header::ALLOW, value);
    }
    Ok(answer)
}

fn find(dialect: &dyn Dialect, method: &Method, path: &str) -> Result<&'static Route, ApiError> {
    // HEAD is answered like GET; the body is left out when the response is sent.
    let method = match *method {
        Method::HEAD => "GET",
        _ => method.as_str(),
    };
    let pattern = pattern(dialect, path).ok_or(ApiError::NotFound)?;
    let mut routes = dialect.routes().iter();
    routes
        .find(|route| route.method == method && route.path == pattern)
        .ok_or_else(|| ApiError::MethodNotAllowed {
            allow: allow(dialect, pattern),
        })
}

/// The pattern of a path. One without `{id}` has priority: `/sessions/revoke-all` is not the path of a session.
fn pattern(dialect: &dyn Dialect, path: &str) -> Option<&'static str> {
    let patterns = || dialect.routes().iter().map(|route| route.path);
    patterns()
        .find(|pattern| *pattern == path)
        .or_else(|| patterns().find(|pattern| matches(pattern, path)))
}

/// The value of `Allow` for the paths of a pattern.
fn allow(dialect: &dyn Dialect, pattern: &str) -> String {
    let routes = dialect.routes().iter();
    let mut methods: Vec<&str> = routes
        .filter(|route| route.path == pattern)
        .map(|route| route.method)
        .collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    if !is_check(dialect, pattern) {
        methods.push("OPTIONS");
    }
    methods.join(", ")
}

fn is_check(dialect: &dyn Dialect, path: &str) -> bool {
    dialect.check_path() == Some(path)
}

/// Whether a path has the segments of a pattern.
fn matches(pattern: &str, path: &str) -> bool {
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some("{id}"), Some(segment)) if !segment.is_empty() => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}
