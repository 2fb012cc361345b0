//! The process log through a real subscriber.

use std::io::Write;
use std::sync::mpsc::{Receiver, sync_channel};

use parking_lot::Mutex;
use proptest::prelude::*;
use tracing::subscriber::with_default;

use super::*;
use crate::telemetry::escape::is_unsafe;

/// The output of a test's log.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.lock();
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

/// The output of the log while `run` runs.
fn logged(json: bool, run: impl FnOnce()) -> String {
    let (queue, lines) = queue();
    let layer = LineLayer { json, queue };
    with_default(tracing_subscriber::registry().with(layer), run);
    let written = Written::default();
    write_all(&lines, Sink::new(written.clone()), json);
    written.text()
}

/// One event with a text wherever a text can be.
fn event_with(text: &str) {
    struct AsIs<'a>(&'a str);
    impl std::fmt::Debug for AsIs<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }
    let error = io::Error::other(text.to_owned());
    tracing::info!(
        text,
        shown = %text,
        quoted = ?text,
        raw = ?AsIs(text),
        %error,
        cause = &error as &(dyn std::error::Error + 'static),
        "the message holds {text}"
    );
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::collection::vec(
            prop::sample::select(vec![
                "\n",
                "\r",
                "\0",
                "\u{1b}[2J",
                "\u{9b}",
                "\u{7f}",
                "\u{85}",
                "\u{2028}",
                "\u{202e}",
                "\u{2066}",
                "\"",
                "\\",
                "=",
                " ",
                "a",
                "Ä",
                "}",
                "user=root",
                "2026-01-01T00:00:00Z  INFO sidegate::audit: action=\"login\"",
            ]),
            0..12
        )
        .prop_map(|parts| parts.concat()),
    ]
}

proptest! {
    #[test]
    fn an_event_with_any_value_is_one_line_of_safe_characters(text in any_text()) {
        for json in [false, true] {
            let line = logged(json, || event_with(&text));
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(!body.chars().any(is_unsafe), "{line:?}");
            prop_assert!(body.contains("sidegate::telemetry::logging::tests"));
        }
    }

    #[test]
    fn json_keeps_every_short_value_unchanged(text in any_text()) {
        prop_assume!(text.len() < 2_000);
        let line = logged(true, || event_with(&text));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        for name in ["text", "shown", "raw", "error", "cause"] {
            prop_assert_eq!(value[name].as_str(), Some(text.as_str()), "{}", name);
        }
        prop_assert_eq!(&value["quoted"], &format!("{text:?}"));
        prop_assert_eq!(&value["message"], &format!("the message holds {text}"));
        prop_assert_eq!(&value["level"], "INFO");
    }

    #[test]
    fn a_value_of_a_text_line_ends_where_the_next_field_begins(text in any_text()) {
        let line = logged(false, || tracing::info!(shown = %text, after = 7));
        let (_, fields) = line.split_once(": ").unwrap();
        let value = fields.strip_prefix("shown=").unwrap();
        let value = value.strip_suffix(" after=7\n").unwrap();
        if value.starts_with('"') {
            let read: Result<String, _> = serde_json::from_str(value);
            prop_assert_eq!(read.unwrap(), text);
        } else {
            prop_assert!(!value.contains(['"', '=', '\\']) && !value.contains(char::is_whitespace));
            prop_assert_eq!(value, text);
        }
    }
}

#[test]
fn a_text_line_reads_left_to_right() {
    let line = logged(false, || {
        tracing::warn!(user = "ann", count = 3, ok = true, error = %"no such file", "it failed");
    });
    let (time, rest) = line.split_at("2026-11-30T19:22:59.123456Z".len());
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    assert_eq!(
        rest,
        "  WARN sidegate::telemetry::logging::tests: it failed user=\"ann\" count=3 ok=true \
         error=\"no such file\"\n"
    );
}

#[test]
fn a_long_value_is_truncated_and_the_line_stays_valid() {
    let long = "ü".repeat(1 << 20);
    for json in [false, true] {
        let line = logged(json, || tracing::info!(value = %long, "{long}"));
        assert!(line.len() < 20_000, "{}", line.len());
        assert!(line.ends_with('\n'));
        if json {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(value["value"].as_str().unwrap().starts_with("üü"));
        }
    }
}

#[test]
fn a_field_cannot_use_a_reserved_name() {
    let line = logged(true, || {
        tracing::info!(level = "ERROR", target = "x", "hello");
    });
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["level"], "INFO");
    assert_eq!(value["field.level"], "ERROR");
    assert_eq!(line.matches("\"target\"").count(), 1, "{line}");
}

#[test]
fn an_unread_log_blocks_no_caller_and_reports_lost_lines_later() {
    struct Stuck(Receiver<()>, Written);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (queue, lines) = queue();
    let (release, held) = sync_channel::<()>(0);
    let written = Written::default();
    let stuck = Stuck(held, written.clone());
    let writer = std::thread::spawn(move || write_all(&lines, Sink::new(stuck), false));
    let log = Log {
        level: None,
        queue: Some(queue.clone()),
    };
    let layer = LineLayer { json: false, queue };
    with_default(tracing_subscriber::registry().with(layer), || {
        for number in 0..20_000 {
            tracing::info!(number);
        }
    });
    let dropped = log.dropped();
    assert!(dropped.load(std::sync::atomic::Ordering::Relaxed) > 10_000);
    log.finish();
    drop(release);
    drop(log);
    writer.join().unwrap();
    let text = written.text();
    let summaries = text.lines().filter(|line| line.contains("were dropped"));
    assert_eq!(summaries.count(), 1);
    assert!(text.lines().count() > 5_000);
}
