//! Whether a server that fails gets requests: a circuit breaker in one word of shared memory, and what is known of its health in
//! another. Pure.
//!
//! A circuit is closed (requests pass), open until a time (none does), and from then on half-open: one request at a time is let
//! through to find out. The one that does has until a deadline to tell: a worker that is killed with it must not shut the server
//! out for ever.

use std::time::Duration;

use crate::config::settings::{EjectionSettings, HealthCheckSettings};

/// A circuit, unpacked. Times are in milliseconds, on the clock of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Circuit {
    pub(super) state: State,
    /// How often in a row it was opened.
    pub(super) times: u8,
    /// Until when it is open, or is tried.
    pub(super) until: u64,
}

/// What a circuit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Open,
    Probing,
}

const TIME: u64 = (1 << 48) - 1;

impl Circuit {
    pub(super) const CLOSED: Self = Self { state: State::Closed, times: 0, until: 0 };

    pub(super) fn unpack(word: u64) -> Self {
        let state = match word >> 56 {
            1 => State::Open,
            2 => State::Probing,
            _ => State::Closed,
        };
        Self { state, times: (word >> 48) as u8, until: word & TIME }
    }

    pub(super) fn pack(self) -> u64 {
        let state = match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::Probing => 2,
        };
        state << 56 | u64::from(self.times) << 48 | self.until & TIME
    }

    /// Whether a request may pass. With `Some`, it is the one that finds out, once the circuit is this.
    pub(super) fn admits(self, now: u64, patience: Duration) -> Option<Option<Self>> {
        match self.state {
            State::Closed => Some(None),
            State::Open | State::Probing if now < self.until => None,
            State::Open | State::Probing => {
                Some(Some(Self { state: State::Probing, until: now + millis(patience), ..self }))
            }
        }
    }

    /// Opened after a failure, for longer each time in a row.
    pub(super) fn opened(self, now: u64, settings: &EjectionSettings) -> Self {
        let times = self.times.saturating_add(1);
        let time = settings.time.saturating_mul(1 << (times - 1).min(20)).min(settings.max_time);
        Self { state: State::Open, times, until: now + millis(time) }
    }
}

/// What looks at a server have found, unpacked. All zero: nobody has looked, and it is taken to be well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    /// It gets no requests.
    pub(super) is_down: bool,
    /// The last look was a good one, and so were as many before.
    good: bool,
    streak: u32,
}

impl Health {
    pub(super) fn unpack(word: u64) -> Self {
        Self { is_down: word >> 33 & 1 == 1, good: word >> 32 & 1 == 1, streak: word as u32 }
    }

    pub(super) fn pack(self) -> u64 {
        u64::from(self.is_down) << 33 | u64::from(self.good) << 32 | u64::from(self.streak)
    }

    /// After one look more.
    pub(super) fn seen(self, good: bool, settings: &HealthCheckSettings) -> Self {
        let streak = if good == self.good { self.streak.saturating_add(1) } else { 1 };
        let is_down = match (good, self.is_down) {
            (true, true) => streak < settings.healthy_after.get(),
            (false, false) => streak >= settings.unhealthy_after.get(),
            (_, is_down) => is_down,
        };
        Self { is_down, good, streak }
    }

    /// Requests have failed: good looks count from now on.
    pub(super) fn doubted(self) -> Self {
        if self.good { Self { streak: 0, ..self } } else { self }
    }

    /// So many looks in a row were good that it is well, whatever requests have found before.
    pub(super) fn is_sound(self, settings: &HealthCheckSettings) -> bool {
        self.good && !self.is_down && self.streak >= settings.healthy_after.get()
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(TIME).min(TIME)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(40);

    fn settings() -> EjectionSettings {
        EjectionSettings {
            time: Duration::from_secs(10),
            max_time: Duration::from_secs(35),
            ..EjectionSettings::default()
        }
    }

    #[test]
    fn a_circuit_opens_for_longer_each_time() {
        let mut circuit = Circuit::CLOSED;
        assert_eq!(circuit.admits(0, PATIENCE), Some(None));
        let mut now = 1_000;
        for seconds in [10, 20, 35, 35] {
            circuit = Circuit::unpack(circuit.opened(now, &settings()).pack());
            assert_eq!(circuit.admits(now + seconds * 1_000 - 1, PATIENCE), None);
            now += seconds * 1_000;
            let probing = circuit.admits(now, PATIENCE).flatten().unwrap();
            assert_eq!(Circuit::unpack(probing.pack()), probing);
            assert_eq!(probing.admits(now + 39_999, PATIENCE), None, "one at a time");
            assert!(
                probing.admits(now + 40_000, PATIENCE).flatten().is_some(),
                "unless that one never tells"
            );
            circuit = probing;
        }
        let mut often = Circuit::CLOSED;
        for _ in 0..300 {
            often = often.opened(0, &settings());
        }
        assert_eq!((often.times, often.until), (u8::MAX, 35_000));
    }

    #[test]
    fn looks_count_in_a_row() {
        let settings = HealthCheckSettings {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            path: None,
            expected_status: Vec::new(),
            healthy_after: NonZeroU32::new(2).unwrap(),
            unhealthy_after: NonZeroU32::new(3).unwrap(),
        };
        let after = |looks: &str| {
            looks.chars().fold(Health::unpack(0), |health, look| {
                let health = if look == '?' { health.doubted() } else { health.seen(look == '+', &settings) };
                Health::unpack(health.pack())
            })
        };
        for (looks, is_down, is_sound) in [
            ("", false, false),
            ("+", false, false),
            ("++", false, true),
            ("--", false, false),
            ("---", true, false),
            ("--+--", false, false),
            ("---+", true, false),
            ("---+-+", true, false),
            ("---++", false, true),
            ("++?+", false, false),
            ("++?++", false, true),
        ] {
            let health = after(looks);
            assert_eq!((health.is_down, health.is_sound(&settings)), (is_down, is_sound), "{looks}");
        }
    }
}
