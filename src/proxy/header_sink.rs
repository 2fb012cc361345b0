//! Takes the header lines of a request: as bytes for HTTP/1.1, or as a header map for HTTP/2. The lines and
//! their order are decided in `request_head`, once for both.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::cookies::Left;

/// A head under construction.
pub(super) trait HeaderSink {
    /// Adds a line. The types of name and value guarantee that neither contains a line end.
    fn line(&mut self, name: &HeaderName, value: &HeaderValue);

    /// Adds a line whose value is written by `write`, unless that returns `Nothing`. The label is the name
    /// followed by `: `.
    fn made(&mut self, label: &'static [u8], write: impl FnOnce(&mut Vec<u8>) -> Left);
}

impl HeaderSink for Vec<u8> {
    #[inline]
    fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.extend_from_slice(name.as_str().as_bytes());
        self.extend_from_slice(b": ");
        self.extend_from_slice(value.as_bytes());
        self.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn made(&mut self, label: &'static [u8], write: impl FnOnce(&mut Vec<u8>) -> Left) {
        let start = self.len();
        self.extend_from_slice(label);
        match write(self) {
            Left::Some => self.extend_from_slice(b"\r\n"),
            Left::Nothing => self.truncate(start),
        }
    }
}

/// A header map, with a buffer in which values are written.
#[derive(Debug, Default)]
pub(super) struct MapSink {
    pub(super) map: HeaderMap,
    value: Vec<u8>,
}

impl MapSink {
    /// With room for this many headers.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            map: HeaderMap::with_capacity(count),
            value: Vec::new(),
        }
    }
}

impl HeaderSink for MapSink {
    fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.map.append(name, value.clone());
    }

    /// The result is composed of valid values, so it is valid; an invalid one would be left out.
    fn made(&mut self, label: &'static [u8], write: impl FnOnce(&mut Vec<u8>) -> Left) {
        self.value.clear();
        let name = label.strip_suffix(b": ").unwrap_or(label);
        if write(&mut self.value) == Left::Some
            && let Ok(name) = HeaderName::from_bytes(name)
            && let Ok(value) = HeaderValue::from_bytes(&self.value)
        {
            self.map.append(name, value);
        }
    }
}
