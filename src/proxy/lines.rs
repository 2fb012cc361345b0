//! Where the lines of a request's head are written to: the bytes of HTTP/1.1, or the header map that
//! HTTP/2 is given. What is written, and in which order, is decided elsewhere, once for both.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::cookies::Left;

/// A head under construction.
pub(super) trait Lines {
    /// A line as it is. A name and a value cannot hold a line end: their types see to that.
    fn line(&mut self, name: &HeaderName, value: &HeaderValue);

    /// A line whose value is made by `write`, unless that says that nothing is left. The label is
    /// the name with its `: `.
    fn made(&mut self, label: &'static [u8], write: impl FnOnce(&mut Vec<u8>) -> Left);
}

impl Lines for Vec<u8> {
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

/// A header map with a buffer to make values in.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) map: HeaderMap,
    value: Vec<u8>,
}

impl Fields {
    /// With room for this many headers.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            map: HeaderMap::with_capacity(count),
            value: Vec::new(),
        }
    }
}

impl Lines for Fields {
    fn line(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.map.append(name, value.clone());
    }

    /// What is made here is made of values, so it is a value; what is none is left out.
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
