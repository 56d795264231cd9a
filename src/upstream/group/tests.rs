//! What a group does with servers that fail and come back. Time passes by sleeping nowhere: durations are zero or endless.

use std::net::Ipv4Addr;

use super::*;
use crate::{
    config::load::{Sources, load},
    net::authority::Host,
    telemetry::groups::BackendState,
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HOST: Host = Host::V4(Ipv4Addr::LOCALHOST);
const REQUEST: Trait<'static> = Trait { client: CLIENT, host: &HOST };

struct Made {
    settings: Vec<GroupSettings>,
    group: Arc<Group>,
    seat: Seat,
}

fn made(servers: usize, rest: &str) -> Made {
    let servers: Vec<_> =
        (0..servers).map(|number| format!("{{ url: \"http://10.0.0.{number}\" }}")).collect();
    let text =
        format!("upstreams: [{{ name: g, kind: origin, servers: [{}], {rest} }}]\n", servers.join(", "));
    let sources = Sources { text: Some(("c.yml".into(), text)), ..Sources::default() };
    let settings = load(&sources).unwrap().settings.upstreams;
    let seat = Segment::private(1).unwrap().seat(0).unwrap();
    let groups = Groups::new(&settings, &OwnListeners::default(), seat.segment(), Duration::from_secs(40));
    let group = Arc::clone(groups.at(0).unwrap());
    Made { settings, group, seat }
}

impl Made {
    fn states(&self) -> Vec<BackendState> {
        survey(&self.settings, self.seat.segment()).into_iter().map(|of| of.state).collect()
    }

    fn turn(&self) -> Option<Turn> {
        self.group.choose(REQUEST, &self.seat).next_turn()
    }

    /// Gives requests to servers until this one had one; `fails` says what becomes of that.
    fn give(&self, index: usize, fails: bool) {
        loop {
            let mut turn = self.turn().unwrap();
            if turn.index == index && fails {
                turn.failed()
            } else {
                turn.answered()
            }
            if turn.index == index {
                return;
            }
        }
    }
}

#[test]
fn failures_in_a_row_eject_and_one_answer_brings_back() {
    let made = made(2, "ejection: { failures: 3, time: 1ms }");
    for fails in [true, true, false, true, true] {
        made.give(0, fails);
    }
    assert_eq!(made.states(), [BackendState::Up; 2], "they are counted in a row");
    made.give(0, true);
    assert_ne!(made.states()[0], BackendState::Up);
    // The time is over at once: one request finds out.
    let probe = loop {
        let turn = made.turn().unwrap();
        if turn.index == 0 {
            break turn;
        }
    };
    for _ in 0..4 {
        assert_eq!(made.turn().unwrap().index, 1, "one at a time");
    }
    drop(probe);
    // It was given up, so another one may.
    made.give(0, false);
    assert_eq!(made.states(), [BackendState::Up; 2]);
}

#[test]
fn a_share_is_never_ejected() {
    let made = made(4, "ejection: { failures: 1, time: 1h, min_available: 0.5 }");
    (0..4).for_each(|index| {
        if let Some(mut turn) = (0..40).filter_map(|_| made.turn()).find(|turn| turn.index == index) {
            turn.failed();
        }
    });
    let ejected = made.states().into_iter().filter(|state| *state == BackendState::Ejected).count();
    assert_eq!(ejected, 2);
    assert!(made.turn().is_some());
}

#[test]
fn nobody_is_left() {
    let made = made(2, "ejection: { failures: 1, time: 1h, min_available: 0 }");
    made.give(0, true);
    made.give(1, true);
    assert_eq!(made.states(), [BackendState::Ejected; 2]);
    assert!(made.turn().is_none());
}

#[test]
fn a_request_goes_to_each_server_once_and_within_its_bounds() {
    let made = made(4, "retries: 2, retry_budget: 0.1");
    let mut choice = made.group.choose(REQUEST, &made.seat);
    let mut got = Vec::new();
    while let Some(turn) = choice.next_turn() {
        got.push(turn.index);
        assert_eq!(choice.share_of(Duration::from_secs(9)).as_secs(), 9 / (4 - got.len() as u64).max(1));
        if !choice.may_move() {
            break;
        }
    }
    got.sort_unstable();
    got.dedup();
    assert_eq!(got.len(), 3, "one and two more");
    let moves = (0..100).filter(|_| {
        let mut choice = made.group.choose(REQUEST, &made.seat);
        choice.next_turn().is_some() && choice.may_move()
    });
    assert!((17..=19).contains(&moves.count()), "10 to begin with, of which 2 are spent, and a tenth of 100");
}

#[test]
fn looks_bring_a_server_down_and_back_and_its_weight_grows() {
    let made = made(
        2,
        "slow_start: 1h, health_check: { healthy_after: 2, unhealthy_after: 2 }, ejection: { failures: 1, time: 1h }",
    );
    let (first, settings) = (&made.group.backends[0], made.group.health_check.as_ref().unwrap());
    let look =
        |good: bool| first.looked(if good { Ok(()) } else { Err("refused") }, backend::now(), settings);
    look(false);
    assert_eq!(made.states()[0], BackendState::Up);
    look(false);
    assert_eq!(made.states()[0], BackendState::Down);
    assert!((0..4).all(|_| made.turn().unwrap().index == 1));
    look(true);
    assert_eq!(made.states()[0], BackendState::Down);
    look(true);
    assert_eq!(made.states()[0], BackendState::Up);
    let got = (0..110).filter(|_| made.turn().unwrap().index == 0).count();
    assert!((9..=11).contains(&got), "a tenth of its weight: {got}");
    // What requests have found is overruled by so many good looks since then.
    made.give(0, true);
    assert_eq!(made.states()[0], BackendState::Ejected);
    look(true);
    assert_eq!(made.states()[0], BackendState::Ejected);
    look(true);
    assert_eq!(made.states()[0], BackendState::Up);
}

#[test]
fn how_servers_are_is_known_to_all_and_shown_without_secrets() {
    let made = made(1, "retries: 0");
    let turn = made.turn().unwrap();
    let report = survey(&made.settings, made.seat.segment());
    assert_eq!((report[0].in_flight, report[0].requests, report[0].failures), (1, 1, 0));
    assert_eq!((report[0].group.as_str(), report[0].backend.as_str()), ("g", "http://10.0.0.0:80"));
    drop(turn);
    assert_eq!(survey(&made.settings, made.seat.segment())[0].in_flight, 0);
}
