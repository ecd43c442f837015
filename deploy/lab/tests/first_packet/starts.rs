//! Pods one after another, many at once, and one after the other with the same address.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::cluster::{Main, Pool, addresses};
use crate::rights::Role;
use crate::stage::{Pod, Stage, Tally};

/// `--unready-pods`: what holds in each of them holds from the first packet.
const MODES: [&str; 2] = ["drop", "expected"];

/// How many pods start one after another, and how many at once, unless `FLOCK_PODS` says otherwise.
const PODS: (usize, usize) = (60, 50);
/// How long forbidden flows go on after ADD.
const GOES_ON: Duration = Duration::from_secs(1);
/// The same where the next pod waits for the address.
const GOES_ON_BRIEFLY: Duration = Duration::from_millis(50);
/// Between two datagrams of a flow, where pods start one after another; and of many together, for each of them.
const PACE: Duration = Duration::from_millis(4);
const PACE_OF_MANY: Duration = Duration::from_millis(5);

/// Of addresses that pods will have, peers send to one in so many before.
const UNKNOWN: usize = 8;
/// `--attach-wait`. What is shown is not about time: with the default, and 200 pods at once, ADD may return before two busy
/// cores have brought the pod to the other node.
const ATTACH_WAIT: &str = "60s";

fn form() -> (usize, usize) {
    let Ok(text) = std::env::var("FLOCK_PODS") else { return PODS };
    let numbers = text.split_once(',').and_then(|(one, many)| Some((one.parse().ok()?, many.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("FLOCK_PODS={text}: expected such as 1000,200"))
}

fn one_after_another(tag: &'static str, main: Main) {
    let (pods, _) = form();
    // More than go on at a time, so that the next address is free and known beforehand.
    let pool = Pool { name: "pods", first: 20, last: 119 };
    for mode in MODES {
        let Some(stage) = Stage::new(tag, main, mode, ATTACH_WAIT, pool, PACE) else { return };
        let (mut tally, mut going_on) = (Tally::default(), VecDeque::new());
        let end = |pod: Pod, tally: &mut Tally| {
            thread::sleep(GOES_ON.saturating_sub(pod.added.elapsed()));
            stage.peers.leave(&pod.addresses);
            stage.end(pod, tally);
        };
        for number in 0..pods {
            let node = number % 2;
            let next = pool.turn(node, number / 2);
            stage.peers.aim(next);
            going_on.push_back(stage.start(node, number, Role::Client, Some(next)));
            while going_on.front().is_some_and(|pod: &Pod| pod.added.elapsed() >= GOES_ON) {
                end(going_on.pop_front().unwrap(), &mut tally);
            }
        }
        going_on.into_iter().for_each(|pod| end(pod, &mut tally));
        tally.judge(&stage, &format!("{main:?}, {mode}, one after another"), pods);
    }
}

fn at_once(tag: &'static str, main: Main) {
    let (_, pods) = form();
    let last = u8::try_from(20 + pods.div_ceil(2)).unwrap();
    let pool = Pool { name: "pods", first: 20, last };
    for mode in MODES {
        let pace = PACE.max(PACE_OF_MANY * u32::try_from(pods).unwrap());
        let Some(stage) = Stage::new(tag, main, mode, ATTACH_WAIT, pool, pace) else { return };
        // On a bridge peers would ask its ports for addresses that nobody has yet, and what waits for the answer is lost when
        // they give up, as it happens just when a pod has started: there they begin when it has.
        if main == Main::Ptp {
            let some = (pool.first..=pool.last).step_by(UNKNOWN);
            stage.peers.aim(some.flat_map(|it| (0..2).flat_map(move |node| addresses(node, it.into()))));
        }
        // They are made beforehand, and let go again, so that starting is all that takes its time.
        let boxes: Vec<_> = (0..pods).map(|number| (number % 2, stage.sandbox(number % 2))).collect();
        stage.keep(boxes);
        let started: Vec<Pod> = thread::scope(|scope| {
            let stage = &stage;
            let starts: Vec<_> = (0..pods)
                .map(|number| scope.spawn(move || stage.start(number % 2, number, Role::Client, None)))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        stage.peers.aim(started.iter().flat_map(|pod| pod.addresses.clone()));
        thread::sleep(GOES_ON);
        let tally = Mutex::new(Tally::default());
        // They end together, too.
        thread::scope(|scope| {
            for pod in started {
                scope.spawn(|| {
                    let mut own = Tally::default();
                    stage.end(pod, &mut own);
                    let mut all = tally.lock().unwrap();
                    *all = std::mem::take(&mut *all).and(own);
                });
            }
        });
        tally.into_inner().unwrap().judge(&stage, &format!("{main:?}, {mode}, at once"), pods);
    }
}

fn one_address(tag: &'static str, main: Main) {
    const ADDRESS: u8 = 77;
    /// Each has other rights than the one before it.
    const ROLES: [Role; 4] = [Role::Client, Role::Stranger, Role::Guest, Role::Stranger];
    let (pods, _) = form();
    let pool = Pool { name: "pods", first: ADDRESS, last: ADDRESS };
    for mode in MODES {
        let Some(stage) = Stage::new(tag, main, mode, ATTACH_WAIT, pool, PACE) else { return };
        stage.peers.aim((0..2).flat_map(|node| addresses(node, ADDRESS.into())));
        let of_node = |node: usize| {
            let mut tally = Tally::default();
            for (turn, number) in (node..pods).step_by(2).enumerate() {
                let expected = addresses(node, ADDRESS.into());
                let pod = stage.start(node, number, ROLES[turn % ROLES.len()], Some(expected));
                thread::sleep(GOES_ON_BRIEFLY);
                stage.end(pod, &mut tally);
            }
            tally
        };
        let of_node = &of_node;
        let tally = thread::scope(|scope| {
            let nodes = [0, 1].map(|node| scope.spawn(move || of_node(node)));
            nodes.map(|node| node.join().unwrap()).into_iter().fold(Tally::default(), Tally::and)
        });
        tally.judge(&stage, &format!("{main:?}, {mode}, one address"), pods);
    }
}

#[test]
fn one_after_another_behind_ptp() {
    one_after_another("first-ptp", Main::Ptp);
}

#[test]
fn one_after_another_behind_bridge() {
    one_after_another("first-bridge", Main::Bridge);
}

#[test]
fn many_at_once_behind_ptp() {
    at_once("many-ptp", Main::Ptp);
}

#[test]
fn many_at_once_behind_bridge() {
    at_once("many-bridge", Main::Bridge);
}

#[test]
fn the_next_pod_with_an_address_behind_ptp() {
    one_address("next-ptp", Main::Ptp);
}

#[test]
fn the_next_pod_with_an_address_behind_bridge() {
    one_address("next-bridge", Main::Bridge);
}
