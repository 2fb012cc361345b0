//! One simulated history: its state, and how random numbers choose the next step.

use sidegate::service::upkeep::Upkeep;
use sidegate::types::random::SeededRandom;

use super::model::{Account, Session};
use super::world::{Backup, World};

pub(super) struct Life {
    pub(super) dice: SeededRandom,
    pub(super) world: World,
    pub(super) accounts: Vec<Account>,
    /// A backup, and the state of the model when it was made.
    pub(super) saved: Option<(Backup, Vec<Account>)>,
    /// Sessions of accounts that the restored store does not contain.
    pub(super) ghosts: Vec<Session>,
    pub(super) story: Vec<&'static str>,
    /// Access tokens that were refused once.
    pub(super) refused: Vec<String>,
}

impl Life {
    pub(super) fn roll(&self, sides: usize) -> usize {
        usize::try_from(self.dice.next() % sides.max(1) as u64).unwrap()
    }

    pub(super) async fn step(&mut self) {
        let roll = self.roll(100);
        if self.accounts.is_empty() || roll < 4 {
            return self.sign_up().await;
        }
        match roll {
            0..16 => self.log_in().await,
            16..22 => self.guess().await,
            22..42 => self.refresh_newest().await,
            42..52 => self.replay_some_older().await,
            52..58 => self.lose_a_reply().await,
            58..64 => self.abandon_a_refresh().await,
            64..68 => self.log_out().await,
            68..71 => self.log_out_by_some_refresh_token().await,
            71..74 => self.end_sessions().await,
            74..76 => self.change_password().await,
            76..78 => self.change_roles().await,
            78 => self.change_roles_of_a_browser().await,
            79..82 => self.disable_or_enable().await,
            82..84 => self.unlock().await,
            84..90 => self.let_time_pass(),
            90..93 => self.set_the_clock().await,
            93..95 => self.restart().await,
            95..97 => self.save().await,
            97 => self.restore().await,
            98 => self.end_everything().await,
            _ => self.sweep().await,
        }
    }

    pub(super) fn let_time_pass(&mut self) {
        self.story.push("time");
        let seconds = match self.roll(5) {
            0 => 1,
            1 => 29,
            2 => self.roll(120),
            3 => self.roll(4_000),
            _ => self.roll(3 * 86_400),
        };
        self.world.pass(seconds as u64);
    }

    pub(super) async fn restart(&mut self) {
        self.story.push("restart");
        self.world.restart().await;
    }

    pub(super) async fn sweep(&mut self) {
        self.story.push("sweep");
        self.world.service.sweep(&Upkeep::default()).await;
    }

    pub(super) fn some_session(&self) -> Option<(usize, usize)> {
        let all: Vec<_> = (self.accounts.iter().enumerate())
            .flat_map(|(at, account)| (0..account.sessions.len()).map(move |of| (at, of)))
            .collect();
        // Mostly one of the recent sessions: the older ones have ended.
        let young = all.len().saturating_sub(6);
        let from = if self.roll(4) == 0 { 0 } else { young };
        all.get(from + self.roll(all.len() - from)).copied()
    }

    pub(super) fn some_generation(&self, at: usize, of: usize) -> u32 {
        let known: Vec<_> = self.accounts[at].sessions[of].refresh.keys().collect();
        *known[self.roll(known.len())]
    }
}
