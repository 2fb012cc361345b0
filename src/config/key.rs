//! What does the declaration of a key state? Path, type, default, documentation, and when a change takes effect.
//!
//! `keys` holds the declarations. The check of the file, the environment, `config.toml` and the
//! reload are derived from them.

use std::time::Duration;

/// A declared key together with its Rust type: `Key<Span>` is read as a `Duration`.
#[derive(Debug)]
pub(crate) struct Key<K> {
    /// Everything that does not depend on the Rust type.
    pub(crate) declaration: Declaration,
    /// The bounds or the words of the value.
    pub(crate) kind: K,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Declaration {
    /// The full path. `[]` is the entry of a list of tables: `rule[].path`.
    pub(crate) path: &'static str,
    /// The TOML type and the default.
    pub(crate) shape: Shape,
    /// The bounds, as text for people.
    pub(crate) bounds: Bounds,
    /// A value that `config.toml` shows in place of the default.
    pub(crate) example: Option<&'static str>,
    /// The directory that a relative path in this value starts from; `None` if the value has no path.
    pub(crate) base: Option<Base>,
    /// When a change takes effect.
    pub(crate) reload: Reload,
    /// Whether this version supports the key.
    pub(crate) support: Support,
    /// The comment in `config.toml`: one or more lines, each with a space in front.
    pub(crate) doc: &'static str,
}

/// The TOML type of a value, and the default.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A text.
    Text(&'static str),
    /// A text that is secret: never shown, wiped from memory. There is no default.
    Secret,
    /// A text that may also be a bare `true` or `false`.
    TextOrFlag(&'static str),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// A list of texts.
    Texts(&'static [&'static str]),
}

/// The least and the greatest value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bounds {
    /// Not a quantity.
    None,
    /// Of a number.
    Number(u32, u32),
    /// Of a duration.
    Span(Duration, Duration),
    /// Of a duration that may also be zero.
    SpanOrZero(Duration, Duration),
    /// Of a size in bytes.
    Size(u64, u64),
}

/// The directory that a relative path starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// The directory that the process was started in.
    WorkingDirectory,
    /// The directory of the configuration file, if the path is written there.
    File,
}

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// At the next reload.
    Live,
    /// At a restart. A reload keeps the value of the start and names the key.
    Restart,
    /// A lower value at the next reload, a higher one at a restart.
    Lowered,
    /// Only the start uses the value, so there is nothing that a reload could keep.
    StartOnly,
}

/// Whether this version supports a key or a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Support {
    /// It is supported.
    Supported,
    /// It is accepted without effect; the text is the reason. Setting it gives a warning.
    Ignored(&'static str),
    /// The same, and the warning is given only for `true` and for a text that is not empty.
    IgnoredIfOn(&'static str),
    /// Every value but the default is refused with this text.
    Refused(&'static str),
}

/// A table, and the keys directly in it.
#[derive(Debug)]
pub(crate) struct Table {
    /// The full path; `[]` at the end marks a list of tables: `server.tls.certificate[]`.
    pub(crate) path: &'static str,
    /// Section, list or map.
    pub(crate) form: Form,
    /// When a change of the table as a whole takes effect: whether it is on or off.
    pub(crate) reload: Reload,
    /// Whether this version supports it.
    pub(crate) support: Support,
    /// The comment above it in `config.toml`.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of `config.toml`.
    pub(crate) keys: &'static [&'static Declaration],
}

/// The form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `[section]`.
    Section,
    /// `[[entry]]`, any number of times.
    List,
    /// A section with any names as keys; each value is a text.
    Map,
}

impl<K> Key<K> {
    pub(super) const fn new(path: &'static str, shape: Shape, kind: K) -> Self {
        Self {
            declaration: Declaration {
                path,
                shape,
                bounds: Bounds::None,
                example: None,
                base: None,
                reload: Reload::Live,
                support: Support::Supported,
                doc: "",
            },
            kind,
        }
    }

    /// Sets the bounds that are shown.
    pub(super) const fn within(mut self, bounds: Bounds) -> Self {
        self.declaration.bounds = bounds;
        self
    }

    /// States that the value is a path, or holds one after a prefix such as `sled:`.
    pub(super) const fn relative_to(mut self, base: Base) -> Self {
        self.declaration.base = Some(base);
        self
    }

    /// States when a change takes effect. Without this it is the next reload.
    pub(super) const fn changes(mut self, reload: Reload) -> Self {
        self.declaration.reload = reload;
        self
    }

    /// States that this version does not support the key.
    pub(super) const fn support(mut self, support: Support) -> Self {
        self.declaration.support = support;
        self
    }

    /// A value for `config.toml`, where the default would be useless.
    pub(super) const fn example(mut self, example: &'static str) -> Self {
        self.declaration.example = Some(example);
        self
    }

    /// The comment; `keys!` takes it from the doc comment.
    pub(super) const fn doc(mut self, doc: &'static str) -> Self {
        self.declaration.doc = doc;
        self
    }

    /// The full path.
    pub(crate) const fn path(&self) -> &'static str {
        self.declaration.path
    }
}

impl Declaration {
    /// The last part of the path.
    pub(crate) fn name(&self) -> &'static str {
        last(self.path)
    }
}

impl Table {
    pub(super) const fn new(path: &'static str, form: Form) -> Self {
        Self {
            path,
            form,
            reload: Reload::Live,
            support: Support::Supported,
            doc: "",
            keys: &[],
        }
    }

    pub(super) const fn changes(mut self, reload: Reload) -> Self {
        self.reload = reload;
        self
    }

    pub(super) const fn support(mut self, support: Support) -> Self {
        self.support = support;
        self
    }

    /// The comment and the keys; `keys!` fills both in.
    pub(super) const fn with(
        mut self,
        doc: &'static str,
        keys: &'static [&'static Declaration],
    ) -> Self {
        self.doc = doc;
        self.keys = keys;
        self
    }

    /// The last part of the path, without `[]`.
    pub(crate) fn name(&self) -> &'static str {
        last(self.path).trim_end_matches("[]")
    }
}

fn last(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Declares a table and its keys. The doc comments are the comments of `config.toml`.
macro_rules! keys {
    (
        $(#[doc = $about:literal])*
        $table:ident = $form:expr;
        $(
            $(#[doc = $doc:literal])*
            $key:ident: $kind:ty = $value:expr;
        )*
    ) => {
        $(
            pub(crate) static $key: $crate::config::key::Key<$kind> =
                $value.doc(concat!($($doc, "\n",)*));
        )*
        pub(crate) static $table: $crate::config::key::Table = $form.with(
            concat!($($about, "\n",)*),
            &[$(&$key.declaration,)*],
        );
    };
}
pub(super) use keys;
