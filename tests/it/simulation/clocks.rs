//! Steps that set the wall clock: for a moment, permanently, or while the process is stopped. Time
//! continues unaffected, except after a lasting jump ahead.

use sidegate::service::upkeep::Upkeep;
use sidegate::types::time::Clock as _;

use super::life::Life;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The number of refused tokens that are sent again at each step.
const SHOWN_AGAIN: usize = 4;

impl Life {
    pub(super) async fn set_the_clock(&mut self) {
        match self.roll(5) {
            0 | 1 => self.jump_ahead_for_a_moment().await,
            2 => self.set_the_clock_back(),
            3 => self.set_the_clock_ahead_for_good().await,
            _ => self.restart_with_another_clock().await,
        }
    }

    /// Ahead and back within half a minute, with a sweep in between: it leaves no trace.
    async fn jump_ahead_for_a_moment(&mut self) {
        self.story.push("ahead for a moment");
        let by = self.some_span();
        let seconds = 1 + self.roll(28) as u64;
        self.world.readings.set_wall(by);
        assert!(!self.world.pass(seconds), "adopted after {seconds} s");
        let state = self.world.clock.state();
        assert!(!state.is_settled || state.difference <= 2_000, "{state:?}");
        self.world.service.sweep(&Upkeep::default()).await;
        self.world.readings.set_wall(-by);
        assert!(!self.world.pass(1));
        self.world.service.sweep(&Upkeep::default()).await;
    }

    fn set_the_clock_back(&mut self) {
        self.story.push("clock set back");
        self.world.readings.set_wall(-self.some_span());
        let seconds = 1 + self.roll(100) as u64;
        self.world.pass(seconds);
    }

    async fn set_the_clock_ahead_for_good(&mut self) {
        self.story.push("clock set ahead");
        self.world.readings.set_wall(self.some_span());
        self.world.pass(40);
        let state = self.world.clock.state();
        assert!(state.difference <= 2_000, "not adopted: {state:?}");
        self.world.service.sweep(&Upkeep::default()).await;
    }

    /// The next process begins at or after the time that the previous one had reached.
    async fn restart_with_another_clock(&mut self) {
        self.story.push("restart with another clock");
        let before = self.world.now();
        let by = self.some_span();
        let by = if self.roll(3) == 0 { by } else { -by };
        self.world.readings.set_wall(by);
        self.world.restart().await;
        assert!(self.world.now() >= before, "time went back");
        self.world.service.sweep(&Upkeep::default()).await;
    }

    fn some_span(&self) -> i64 {
        let spans = [
            1_500,
            10_000,
            5 * MINUTE,
            20 * MINUTE,
            2 * HOUR,
            2 * DAY,
            365 * DAY,
        ];
        // After the longest span most sessions have expired, so it is rare.
        let at = self.roll(spans.len() + 8) % 10;
        *spans.get(at).unwrap_or(&HOUR)
    }

    /// A token that was refused once never passes again, for any change of the clock.
    pub(super) async fn what_was_refused_is_refused(&mut self) {
        self.refused.sort_unstable();
        self.refused.dedup();
        for _ in 0..SHOWN_AGAIN.min(self.refused.len()) {
            let token = &self.refused[self.roll(self.refused.len())];
            assert!(!self.world.passes(token).await, "a refused token passes");
        }
    }
}
