//! Which workers have yet to say that a configuration is in force. Several can be on their way: each has an end of its own.

use std::collections::BTreeSet;

use super::Life;

/// Configurations on their way, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Reloading {
    on_the_way: Vec<Configuration>,
}

#[derive(Debug)]
struct Configuration {
    generation: u64,
    waiting: BTreeSet<Life>,
    /// Whether nobody has refused it.
    by_all: bool,
}

impl Reloading {
    /// This generation is handed to these workers.
    pub(super) fn begin(&mut self, generation: u64, workers: BTreeSet<Life>) {
        self.on_the_way.push(Configuration { generation, waiting: workers, by_all: true });
    }

    /// A worker has put this generation in force, or has refused to.
    pub(super) fn answered(&mut self, life: Life, generation: u64, in_force: bool) {
        for configuration in &mut self.on_the_way {
            if configuration.generation == generation && configuration.waiting.remove(&life) {
                configuration.by_all &= in_force;
            }
        }
    }

    /// A worker will say nothing more: it ends with what it has.
    pub(super) fn forget(&mut self, life: Life) {
        for configuration in &mut self.on_the_way {
            configuration.waiting.remove(&life);
        }
    }

    /// Whether nobody is waited for.
    pub(super) fn is_empty(&self) -> bool {
        self.on_the_way.is_empty()
    }

    /// Nobody is waited for any more.
    pub(super) fn give_up(&mut self) {
        self.on_the_way.clear();
    }

    /// Generations about which everybody has spoken since this was last asked, and whether all use them.
    pub(super) fn ended(&mut self) -> Vec<(u64, bool)> {
        let ended = self.on_the_way.extract_if(.., |configuration| configuration.waiting.is_empty());
        ended.map(|configuration| (configuration.generation, configuration.by_all)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ends_when_all_have_spoken_or_gone() {
        let mut reloading = Reloading::default();
        reloading.begin(2, BTreeSet::from([Life(0), Life(1)]));
        reloading.begin(3, BTreeSet::from([Life(0), Life(1), Life(2)]));
        reloading.answered(Life(0), 2, true);
        assert_eq!(reloading.ended(), []);
        reloading.answered(Life(0), 3, false);
        reloading.forget(Life(1));
        assert_eq!(reloading.ended(), [(2, true)]);
        reloading.answered(Life(2), 3, true);
        assert_eq!(reloading.ended(), [(3, false)]);
        reloading.begin(4, BTreeSet::new());
        assert_eq!(reloading.ended(), [(4, true)], "there may be nobody to tell");
    }
}
