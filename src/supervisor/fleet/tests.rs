//! Stories of an instance, told without a process.

use std::num::NonZeroU32;

use super::*;

/// A fleet with a clock of its own.
struct Story {
    fleet: Fleet,
    now: Instant,
}

impl Story {
    /// An instance whose workers are all ready.
    fn up(slots: usize) -> Self {
        let mut story = Self::begun(slots);
        for life in 0..slots as u64 {
            story.ready(life);
        }
        story
    }

    /// An instance whose workers start.
    fn begun(slots: usize) -> Self {
        let now = Instant::now();
        let mut fleet = Fleet::new(settings(), slots, 8, true, now);
        let spawned = fleet.begin(now);
        assert_eq!(
            spawned,
            (0..slots).map(|slot| Action::Spawn(Life(slot as u64), slot)).collect::<Vec<_>>()
        );
        Self { fleet, now }
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.fleet.handle(event, self.now, 0.0)
    }

    fn wish(&mut self, command: Command) -> Vec<Action> {
        self.tell(Event::Command(command))
    }

    fn ready(&mut self, life: u64) -> Vec<Action> {
        self.tell(Event::Ready(Life(life)))
    }

    fn exits(&mut self, life: u64, code: Option<i32>) -> Vec<Action> {
        self.tell(Event::Exited(Life(life), Status { code, text: "told".into() }))
    }

    /// Lets time pass in ticks, while these workers answer what they are asked.
    fn wait(&mut self, time: Duration, answering: &[u64]) -> Vec<Action> {
        let (end, mut all) = (self.now + time, Vec::new());
        while self.now < end {
            self.now += Duration::from_millis(100);
            for action in self.tell(Event::Tick) {
                match action {
                    Action::Ping(life) if answering.contains(&life.0) => {
                        all.extend(self.tell(Event::Pong(life)))
                    }
                    Action::Ping(_) => {}
                    action => all.push(action),
                }
            }
        }
        all
    }
}

fn settings() -> SupervisionSettings {
    SupervisionSettings {
        restart_workers: true,
        restart_delay: Duration::from_secs(1),
        restart_delay_max: Duration::from_secs(30),
        respawn_threshold: NonZeroU32::new(3).unwrap(),
        respawn_threshold_time: Duration::from_secs(60),
        max_restarts: None,
        start_timeout: Duration::from_secs(10),
        heartbeat_timeout: Duration::from_secs(10),
        shutdown_timeout: Duration::from_secs(30),
    }
}

fn spawn(life: u64, slot: usize) -> Action {
    Action::Spawn(Life(life), slot)
}

#[test]
fn a_killed_worker_is_replaced_and_somebody_accepts_meanwhile() {
    let mut story = Story::up(2);
    assert_eq!(story.exits(0, None), [spawn(2, 0), Action::Lend(Life(1), 0)]);
    assert_eq!(story.ready(2), [Action::TakeBack(Life(1), 0)]);
}

#[test]
fn a_worker_that_cannot_start_at_first_ends_the_instance_with_its_status() {
    let mut story = Story::begun(2);
    story.ready(1);
    let end = story.exits(0, Some(78));
    assert_eq!(end, [Action::Drain(Life(1)), Action::CloseSockets, Action::Stop(Life(1))]);
    assert_eq!(story.fleet.ending(), None);
    assert_eq!(story.exits(1, Some(0)), []);
    assert_eq!(story.fleet.ending(), Some(Ending::FirstStartFailed(Some(78))));
}

#[test]
fn a_worker_that_is_killed_or_hangs_at_first() {
    let mut story = Story::begun(1);
    assert_eq!(story.exits(0, None), [spawn(1, 0)], "by somebody else: another try");
    assert_eq!(story.wait(Duration::from_millis(10_100), &[]), [Action::Kill(Life(1))]);
    story.exits(1, None);
    assert_eq!(story.fleet.ending(), Some(Ending::FirstStartFailed(None)));
}

#[test]
fn a_worker_that_was_ready_is_respawned_even_while_others_start() {
    let mut story = Story::begun(2);
    story.ready(0);
    assert_eq!(story.exits(0, None), [spawn(2, 0)]);
}

#[test]
fn a_crash_loop_is_given_up_and_its_socket_lent_for_good() {
    let mut story = Story::up(2);
    assert_eq!(story.exits(0, Some(1)), [spawn(2, 0), Action::Lend(Life(1), 0)]);
    assert_eq!(story.exits(2, Some(1)), [], "it waits a second");
    assert_eq!(story.wait(Duration::from_secs(1), &[1]), [spawn(3, 0)]);
    story.exits(3, Some(1));
    assert_eq!(story.wait(Duration::from_secs(2), &[1]), [spawn(4, 0)]);
    story.exits(4, Some(1));
    assert_eq!(story.wait(Duration::from_secs(600), &[1]), [], "it was given up");
    assert_eq!(story.fleet.ending(), None);
    story.exits(1, Some(78));
    assert_eq!(story.fleet.ending(), Some(Ending::NoWorkers));
}

#[test]
fn a_slot_that_was_given_up_is_tried_again_when_the_operator_does_something() {
    let mut story = Story::up(2);
    story.exits(0, Some(69));
    let command = Command::Reload {
        settings: Box::new(settings()),
        workers: None,
        reach: Reach::Nobody,
        generation: 1,
    };
    assert_eq!(story.wish(command), [spawn(2, 0)]);
}

#[test]
fn a_worker_that_hangs_is_helped_soon_and_killed_late() {
    let mut story = Story::up(2);
    assert_eq!(story.wait(Duration::from_millis(600), &[1]), [Action::Lend(Life(1), 0)]);
    assert_eq!(story.tell(Event::Pong(Life(0))), [Action::TakeBack(Life(1), 0)], "it was only slow");
    let actions = story.wait(Duration::from_millis(10_200), &[1]);
    assert_eq!(actions, [Action::Lend(Life(1), 0), Action::Kill(Life(0))]);
    assert_eq!(story.exits(0, None), [spawn(2, 0)]);
}

#[test]
fn a_launcher_that_was_stopped_itself_blames_nobody() {
    let mut story = Story::up(2);
    story.now += Duration::from_secs(60);
    let actions = story.tell(Event::Tick);
    assert_eq!(actions, [Action::Ping(Life(0)), Action::Ping(Life(1))]);
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_killed() {
    let mut story = Story::up(1);
    story.exits(0, None);
    assert_eq!(story.wait(Duration::from_millis(10_100), &[]), [Action::Kill(Life(1))]);
}

#[test]
fn a_rolling_restart_replaces_one_after_the_other() {
    let mut story = Story::up(2);
    assert_eq!(story.wish(Command::Restart), [spawn(2, 0)]);
    assert_eq!(story.wish(Command::Restart), [], "it is remembered");
    assert_eq!(story.ready(2), [Action::Drain(Life(0)), spawn(3, 1)]);
    assert_eq!(story.exits(0, Some(0)), []);
    let next = [Action::Drain(Life(1)), Action::RolledOut(true), spawn(4, 0)];
    assert_eq!(story.ready(3), next, "and begins again");
    story.ready(4);
    assert_eq!(story.ready(5), [Action::Drain(Life(3)), Action::RolledOut(true)]);
}

#[test]
fn an_old_worker_that_does_not_leave_is_killed() {
    let mut story = Story::up(1);
    story.wish(Command::Restart);
    story.ready(1);
    assert_eq!(story.wait(Duration::from_secs(31), &[0, 1]), []);
    assert_eq!(story.wait(Duration::from_secs(1), &[0, 1]), [Action::Kill(Life(0))]);
}

#[test]
fn a_new_worker_that_fails_ends_the_rolling_restart_and_the_old_ones_stay() {
    let mut story = Story::up(2);
    story.wish(Command::Restart);
    assert_eq!(story.exits(2, Some(1)), [Action::RolledOut(false)]);
    assert_eq!(story.wait(Duration::from_secs(60), &[0, 1]), []);
    assert_eq!(story.wish(Command::Restart), [spawn(3, 0)], "another try is possible");
}

#[test]
fn a_worker_that_dies_while_it_is_replaced_is_not_replaced_twice() {
    let mut story = Story::up(2);
    story.wish(Command::Restart);
    assert_eq!(story.exits(0, None), [Action::Lend(Life(1), 0)]);
    assert_eq!(story.ready(2), [spawn(3, 1), Action::TakeBack(Life(1), 0)]);
    // And when the successor dies as well, the slot is as any that has lost its worker.
    let mut story = Story::up(2);
    story.wish(Command::Restart);
    story.exits(0, None);
    assert_eq!(story.exits(2, Some(1)), [spawn(3, 0), Action::RolledOut(false)]);
}

#[test]
fn a_restart_that_is_wished_too_early_is_not_forgotten() {
    let mut story = Story::begun(1);
    assert_eq!(story.wish(Command::Restart), []);
    assert_eq!(story.ready(0), [Action::Up, spawn(1, 0)]);
}

#[test]
fn scaling_keeps_every_socket_served() {
    let mut story = Story::up(1);
    assert_eq!(story.wish(Command::ScaleBy(1)), [spawn(1, 1), Action::Lend(Life(0), 1)]);
    assert_eq!(story.ready(1), [Action::TakeBack(Life(0), 1)]);
    assert_eq!(story.wish(Command::ScaleBy(-1)), [Action::Drain(Life(1)), Action::Lend(Life(0), 1)]);
    assert_eq!(story.exits(1, Some(0)), []);
    assert_eq!(story.wish(Command::ScaleBy(-1)), [], "one stays");
    assert_eq!(story.wish(Command::ScaleBy(100)), [], "there is no room for so many");
    assert_eq!(story.wish(Command::ScaleBy(1)), [spawn(2, 1)]);
    assert_eq!(story.ready(2), [Action::TakeBack(Life(0), 1)]);
}

#[test]
fn a_slot_that_goes_away_is_left_out_of_a_rolling_restart() {
    let mut story = Story::up(3);
    story.wish(Command::Restart);
    story.ready(3);
    let actions = story.wish(Command::ScaleBy(-2));
    assert!(actions.contains(&Action::Kill(Life(4))) && actions.contains(&Action::Drain(Life(1))));
    assert!(actions.contains(&Action::RolledOut(true)));
}

#[test]
fn the_end_waits_for_everybody_and_starts_nobody() {
    let mut story = Story::up(2);
    story.exits(0, None);
    story.exits(2, None);
    let drained = story.wish(Command::Drain);
    assert_eq!(drained, [Action::Drain(Life(1)), Action::CloseSockets]);
    assert_eq!(story.wait(Duration::from_secs(20), &[1]), [], "who waited for a respawn waits for ever");
    assert_eq!(story.wish(Command::Restart), []);
    assert_eq!(story.wish(Command::Drain), [Action::CloseSockets, Action::Stop(Life(1))], "at once, then");
    story.tell(Event::Leaving(Life(1), 7));
    story.exits(1, Some(0));
    assert_eq!((story.fleet.ending(), story.fleet.cut()), (Some(Ending::Stopped), 7));
}

#[test]
fn a_worker_that_starts_when_the_end_comes_is_killed() {
    let mut story = Story::begun(1);
    assert_eq!(story.wish(Command::Drain), [Action::Kill(Life(0)), Action::CloseSockets]);
    story.exits(0, None);
    assert_eq!(story.fleet.ending(), Some(Ending::Stopped));
}

#[test]
fn a_reload_reaches_who_stays() {
    let mut story = Story::up(2);
    story.exits(0, None);
    let reload =
        |reach| Command::Reload { settings: Box::new(settings()), workers: None, reach, generation: 2 };
    assert_eq!(story.wish(reload(Reach::Everybody)), [Action::Reload(Life(1)), Action::Reload(Life(2))]);
    assert_eq!(story.wish(reload(Reach::NewWorkers)), [spawn(3, 0)]);
}

#[test]
fn shared_sockets_are_not_lent() {
    let now = Instant::now();
    let mut fleet = Fleet::new(settings(), 2, 8, false, now);
    fleet.begin(now);
    fleet.handle(Event::Ready(Life(0)), now, 0.0);
    fleet.handle(Event::Ready(Life(1)), now, 0.0);
    let status = Status { code: None, text: String::new() };
    assert_eq!(fleet.handle(Event::Exited(Life(0), status), now, 0.0), [spawn(2, 0)]);
}
