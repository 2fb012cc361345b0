//! Timestamps and the time line: jumps and drift of the wall clock.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::line::{JUMP, Line, Reading, SLEW, STABLE};
use super::*;

const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);
const YEAR: i64 = 365 * 86_400 * 1000;
const HOUR: i64 = 3_600_000;

#[test]
fn a_timestamp_shows_as_iso_8601_with_milliseconds() {
    assert_eq!(
        Timestamp::from_millis(1_700_000_000_123).to_string(),
        "2023-11-14T22:13:20.123Z"
    );
    assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
}

#[test]
fn spans_saturate_instead_of_wrapping() {
    assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
    assert_eq!(
        Timestamp::default().minus(Duration::from_secs(1)),
        Timestamp::default()
    );
    assert_eq!(Timestamp::default().since(Timestamp::MAX), Duration::ZERO);
}

#[test]
fn the_system_clock_agrees_with_the_wall_clock_and_never_runs_backwards() {
    let clock = SystemClock::default();
    let mut before = clock.now();
    assert!(clock.wall().since(before) < Duration::from_secs(60));
    assert!(before.since(clock.wall()) < Duration::from_secs(60));
    for _ in 0..10_000 {
        let now = clock.now();
        assert!(now >= before);
        before = now;
    }
}

/// A process that compares its two clocks once a second.
struct Process {
    readings: ManualReadings,
    clock: TimeLine<ManualReadings>,
}

impl Process {
    fn new() -> Self {
        Self::on(ManualReadings::new(BEGIN))
    }

    fn on(readings: ManualReadings) -> Self {
        let clock = TimeLine::new(readings.clone());
        Self { readings, clock }
    }

    /// Advances the clocks. Returns the changes that were found, and by how much time advanced.
    fn run(&self, seconds: u64) -> (Vec<Change>, Duration) {
        let begin = self.clock.now();
        let mut found = Vec::new();
        for _ in 0..seconds {
            self.readings.advance(SECOND);
            found.extend(self.clock.look().into_iter().flatten());
        }
        (found, self.clock.now().since(begin))
    }
}

#[test]
fn a_year_ahead_for_five_seconds_leaves_no_trace() {
    let process = Process::new();
    process.readings.set_wall(YEAR);
    let (found, ran) = process.run(5);
    assert_eq!(found, [Change::Jumped { by: YEAR }]);
    assert_eq!(ran, SECOND * 5);
    assert!(process.clock.state().is_apart);
    assert!(!process.clock.state().is_settled, "nothing may be swept");
    process.readings.set_wall(-YEAR);
    let (found, ran) = process.run(60);
    assert_eq!(found, [Change::Jumped { by: -YEAR }, Change::Met]);
    assert_eq!(ran, SECOND * 60);
    assert_eq!(process.clock.now(), process.clock.wall());
    let state = process.clock.state();
    assert!(state.is_settled && !state.is_apart, "{state:?}");
    assert_eq!((state.jumps_forward, state.jumps_backward), (1, 1));
}

#[test]
fn a_forward_jump_is_adopted_once_it_has_been_stable_for_thirty_seconds() {
    let process = Process::new();
    process.readings.set_wall(2 * HOUR);
    let (found, ran) = process.run(30);
    assert_eq!(found, [Change::Jumped { by: 2 * HOUR }]);
    assert_eq!(ran, SECOND * 30);
    let (found, _) = process.run(1);
    assert_eq!(found, [Change::Adopted { by: 2 * HOUR }]);
    assert_eq!(process.clock.now(), process.clock.wall());
    assert!(process.clock.state().is_settled && !process.clock.state().is_apart);
}

#[test]
fn a_jump_that_changes_again_must_be_stable_again() {
    let process = Process::new();
    for _ in 0..10 {
        process.readings.set_wall(HOUR);
        let (found, ran) = process.run(25);
        assert_eq!(found, [Change::Jumped { by: HOUR }]);
        assert_eq!(ran, SECOND * 25);
    }
    assert_eq!(process.run(6).0, [Change::Adopted { by: 10 * HOUR }]);
}

#[test]
fn a_suspended_process_counts_no_stable_seconds() {
    let process = Process::new();
    process.readings.set_wall(HOUR);
    process.run(1);
    process.readings.advance(Duration::from_secs(600));
    assert_eq!(process.clock.look(), [None, None]);
    assert!(process.clock.state().is_apart);
    // Time was not read in between, and it continued.
    assert_eq!(process.clock.now(), BEGIN.plus(Duration::from_secs(601)));
}

#[test]
fn time_continues_when_the_wall_clock_is_set_back() {
    let process = Process::new();
    process.readings.set_wall(-HOUR);
    let (found, ran) = process.run(600);
    assert_eq!(found, [Change::Jumped { by: -HOUR }]);
    let lost = (SECOND * 600).saturating_sub(ran);
    assert_eq!(
        lost,
        SECOND * 3,
        "half a per cent, which is how the two meet"
    );
    assert!(process.clock.state().is_apart);
    assert!(
        process.clock.state().is_settled,
        "what has expired is expired"
    );
}

#[test]
fn a_small_drift_is_slewed_in_both_directions() {
    for by in [1_500, -1_500] {
        let process = Process::new();
        process.readings.set_wall(by);
        let (found, _) = process.run(60);
        assert_eq!(found, []);
        let left = process.clock.state().difference;
        assert_eq!(left, by - by.signum() * 60 * 5);
        process.run(300);
        assert!(process.clock.state().difference.abs() <= 2);
    }
}

#[test]
fn a_wall_clock_that_drifts_away_is_reported_once() {
    let process = Process::new();
    let mut found = Vec::new();
    for _ in 0..2_000 {
        process.readings.set_wall(-50);
        found.extend(process.run(1).0);
    }
    assert!(matches!(found[..], [Change::Jumped { by }] if by < -JUMP));
}

#[test]
fn a_start_with_the_clock_set_back_begins_at_the_mark() {
    let process = Process::new();
    let mark = BEGIN.plus(Duration::from_secs(3_600));
    let resumed = process.clock.resume(mark);
    assert_eq!(resumed, Resumed::Behind(Duration::from_secs(3_600)));
    assert_eq!(process.clock.now(), mark);
    assert!(process.clock.state().is_apart);
    assert!(process.clock.reminder().is_some());
    assert!(process.clock.reminder().is_none(), "once a minute");
    process.run(61);
    assert!(process.clock.reminder().is_some());
}

#[test]
fn a_start_long_after_the_mark_deletes_nothing_for_thirty_seconds() {
    let process = Process::new();
    let mark = BEGIN.minus(Duration::from_secs(86_400));
    let resumed = process.clock.resume(mark);
    assert_eq!(resumed, Resumed::After(Duration::from_secs(86_400)));
    assert_eq!(process.clock.now(), BEGIN, "what ran out meanwhile has");
    process.run(29);
    assert!(!process.clock.state().is_settled);
    process.run(1);
    assert!(process.clock.state().is_settled);
}

#[test]
fn a_start_with_a_wrong_clock_deletes_nothing_until_the_next_start() {
    let process = Process::new();
    process
        .clock
        .resume(BEGIN.minus(Duration::from_millis(YEAR.unsigned_abs())));
    process.run(5);
    process.readings.set_wall(-YEAR);
    process.run(3_600);
    assert!(!process.clock.state().is_settled);
    let next = Process::on(process.readings);
    next.clock.resume(next.clock.wall());
    assert!(next.clock.state().is_settled);
}

/// An event between two comparisons.
#[derive(Debug, Clone)]
enum Happening {
    /// Time passes.
    Passes(i64),
    /// The wall clock is set.
    Set(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let span = prop_oneof![
        -3_000..3_000_i64,
        -HOUR..HOUR,
        Just(YEAR),
        Just(-YEAR),
        Just(i64::MAX / 4),
        Just(i64::MIN / 4),
    ];
    prop_oneof![
        4 => (0..3_000_i64).prop_map(Happening::Passes),
        1 => (3_000..100_000_i64).prop_map(Happening::Passes),
        1 => span.prop_map(Happening::Set),
    ]
}

#[test]
fn every_moment_has_a_date_for_http_headers() {
    let date = |millis| Timestamp::from_millis(millis).http_date();
    assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!(date(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(Timestamp::MAX.http_date(), "Fri, 31 Dec 9999 23:59:59 GMT");
}

proptest! {
    #[test]
    fn time_never_runs_backwards_and_keeps_its_rate(
        happenings in prop::collection::vec(happening(), 1..300),
        mark in prop::option::of(-YEAR..YEAR),
    ) {
        let begin = i64::try_from(BEGIN.as_millis()).unwrap();
        let mut now = Reading { monotonic: 1_000, wall: begin };
        let mut line = Line::start(now);
        if let Some(mark) = mark {
            line.resume(now, begin + mark);
            prop_assert!(now.monotonic + line.offset() >= begin + mark);
        }
        // How far the wall clock was ahead in each of the last seconds.
        let mut ahead = VecDeque::new();
        for happening in happenings {
            let before = now;
            match happening {
                Happening::Passes(span) => {
                    now.monotonic += span;
                    now.wall = now.wall.saturating_add(span);
                }
                Happening::Set(by) => now.wall = now.wall.saturating_add(by).clamp(0, 253_402_300_799_999),
            }
            let passed = now.monotonic - before.monotonic;
            let offset = line.offset();
            let changes = line.look(now);
            let moved = line.offset() - offset;
            let adopted = changes.iter().flatten().find_map(|change| match change {
                Change::Adopted { by } => Some(*by),
                Change::Jumped { .. } | Change::Met => None,
            });
            ahead.push_back((passed.min(2_000), now.wall - now.monotonic));
            if let Some(by) = adopted {
                prop_assert_eq!(moved, by);
                prop_assert!(by > JUMP);
                // For how many seconds the wall clock has kept its value.
                let held: i64 = ahead.iter().rev()
                    .take_while(|(_, wall)| (wall - ahead.back().unwrap().1).abs() <= 2 * JUMP)
                    .map(|(passed, _)| passed)
                    .sum();
                prop_assert!(held >= STABLE, "adopted after {held} ms");
            } else {
                prop_assert!(moved.abs() <= passed / SLEW, "{moved} in {passed}");
            }
            let settled = line.is_settled();
            prop_assert!(settled || line.difference() > JUMP || mark.is_some());
        }
    }

    #[test]
    fn short_clock_jumps_leave_no_trace(
        excursions in prop::collection::vec((JUMP..2 * YEAR, 1..29_u64, 1..100_u64), 1..20),
    ) {
        let process = Process::new();
        let mut passed = 0;
        for (by, away, back) in excursions {
            process.readings.set_wall(by + 1);
            process.run(away);
            process.readings.set_wall(-by - 1);
            process.run(back);
            passed += away + back;
        }
        prop_assert_eq!(process.clock.now(), BEGIN.plus(SECOND * u32::try_from(passed).unwrap()));
        prop_assert!(process.clock.state().is_settled);
    }

    #[test]
    fn a_clock_that_jumps_anywhere_is_never_earlier_than_before(
        happenings in prop::collection::vec(happening(), 1..100),
    ) {
        let process = Process::new();
        let mut before = process.clock.now();
        for happening in happenings {
            match happening {
                Happening::Passes(span) => process.readings.advance(Duration::from_millis(span.unsigned_abs())),
                Happening::Set(by) => process.readings.set_wall(by),
            }
            process.clock.look();
            let now = process.clock.now();
            prop_assert!(now >= before);
            before = now;
        }
    }
}
