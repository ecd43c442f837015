use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// By the wall clock, when everything begins.
const BEGINNING: i64 = 1_000_000;

fn pod(name: &str, scheduled: Option<i64>) -> Pod {
    Pod {
        uid: Some(PodUid::new(name).unwrap()),
        node: Some(NodeName::new("n1").unwrap()),
        scheduled: scheduled.and_then(UnixTime::new),
        ..Pod::new(PodKey::new("shop", name).unwrap())
    }
}

fn arrived(name: &str) -> Pod {
    Pod { network: PodNetwork::own(["10.0.0.1".parse().unwrap()].into(), None), ..pod(name, None) }
}

fn of_pod(name: &str) -> Overdue {
    Overdue::Pod(PodKey::new("shop", name).unwrap())
}

fn of_namespace() -> Overdue {
    Overdue::Namespace(NodeName::new("n1").unwrap(), NamespaceName::new("shop").unwrap())
}

/// The waits, with a clock and a world that waits for whoever is not overdue, as the core does.
struct Scene {
    pod_waits: PodWaits,
    begun: Instant,
    now: Instant,
    overdue: BTreeSet<Overdue>,
    /// True if policies isolate the pods.
    isolated: bool,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Self { pod_waits: PodWaits::default(), begun: now, now, overdue: BTreeSet::new(), isolated: true }
    }

    fn now(&self) -> Clocks {
        let passed = i64::try_from(self.now.duration_since(self.begun).as_secs()).unwrap();
        Clocks { instant: self.now, wall: UnixTime::new(BEGINNING + passed) }
    }

    fn take(&mut self, decided: Vec<Change>) {
        for change in decided {
            assert!(match change {
                Change::Overdue(Edit::Upsert(one)) => self.overdue.insert(one),
                Change::Overdue(Edit::Delete(one)) => self.overdue.remove(&one),
                _ => false,
            });
        }
    }

    fn observe(&mut self, change: &Change) {
        let (overdue, isolated) = (self.overdue.clone(), self.isolated);
        let expects = |key: &PodKey| {
            isolated && !overdue.contains(&Overdue::Pod(key.clone())) && !overdue.contains(&of_namespace())
        };
        let decided = self.pod_waits.observe(change, self.now(), expects);
        self.take(decided);
    }

    fn upsert(&mut self, pod: &Pod) {
        self.observe(&Change::Pod(Edit::Upsert(pod.clone())));
    }

    fn delete(&mut self, name: &str) {
        self.observe(&Change::Pod(Edit::Delete(PodKey::new("shop", name).unwrap())));
    }

    /// Lets time pass, each moment at which something is due on its way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.pod_waits.due().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let (overdue, isolated) = (self.overdue.clone(), self.isolated);
            let expects = |key: &PodKey| {
                isolated
                    && !overdue.contains(&Overdue::Pod(key.clone()))
                    && !overdue.contains(&of_namespace())
            };
            let decided = self.pod_waits.expire(self.now, expects);
            self.take(decided);
        }
        self.now = end;
    }

    fn is_over(&self, one: &Overdue) -> bool {
        self.overdue.contains(one)
    }
}

#[test]
fn a_pod_is_waited_for_a_minute_from_when_it_was_bound_or_seen_first() {
    // Bound when it is seen, before, long ago; in the future, and nobody knows when.
    for (scheduled, left) in [
        (Some(BEGINNING), 60),
        (Some(BEGINNING - 20), 40),
        (Some(BEGINNING - 60), 0),
        (Some(0), 0),
        (Some(BEGINNING + 3_600), 60),
        (Some(-1), 60),
        (None, 60),
    ] {
        let mut scene = Scene::new();
        scene.upsert(&pod("a", scheduled));
        if left > 0 {
            scene.pass(left * SECOND - Duration::from_millis(1));
            assert!(!scene.is_over(&of_pod("a")), "{scheduled:?}");
            // To be told of it again does not begin anew, whatever its time is then.
            scene.upsert(&pod("a", Some(BEGINNING + 50)));
        }
        scene.pass(SECOND);
        assert!(scene.is_over(&of_pod("a")), "{scheduled:?}");
        scene.upsert(&arrived("a"));
        assert!(!scene.is_over(&of_pod("a")) && scene.pod_waits.pods.is_empty());
        assert_eq!(scene.pod_waits.due(), None);
    }
}

#[test]
fn another_pod_of_the_same_name_is_waited_for_anew() {
    let mut scene = Scene::new();
    scene.upsert(&pod("a", None));
    scene.pass(61 * SECOND);
    assert!(scene.is_over(&of_pod("a")));
    scene.upsert(&Pod { uid: Some(PodUid::new("other").unwrap()), ..pod("a", None) });
    assert!(!scene.is_over(&of_pod("a")));
    // A listing without it ends the wait, one with it does not.
    scene.observe(&Change::Pod(Edit::Replace(vec![Pod {
        uid: Some(PodUid::new("other").unwrap()),
        ..pod("a", None)
    }])));
    assert_eq!(scene.pod_waits.pods.len(), 1);
    scene.observe(&Change::Pod(Edit::Replace(vec![arrived("b")])));
    assert!(scene.pod_waits.pods.is_empty() && scene.pod_waits.due().is_none());
}

#[test]
fn pods_that_arrive_cost_nothing_however_many_they_are() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        scene.upsert(&pod("a", None));
        scene.pass(50 * SECOND);
        scene.upsert(&arrived("a"));
        scene.delete("a");
    }
    assert!(scene.overdue.is_empty() && scene.pod_waits.accounts.is_empty());
}

#[test]
fn images_that_never_come_close_a_node_for_three_minutes_of_ten() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.upsert(&pod(name, None));
    }
    scene.pass(60 * SECOND);
    assert!(!scene.is_over(&of_namespace()), "as much as there may be");
    scene.upsert(&pod("d", None));
    scene.pass(60 * SECOND);
    assert!(scene.is_over(&of_namespace()));
    // 180 less 18, and 60 more are 222: 132 are to wear off.
    scene.pass(439 * SECOND);
    assert!(scene.is_over(&of_namespace()));
    scene.pass(2 * SECOND);
    assert!(!scene.is_over(&of_namespace()));
}

#[test]
fn pods_that_are_made_and_deleted_for_ever_do_the_same() {
    let mut scene = Scene::new();
    let mut closed = Duration::ZERO;
    for _ in 0..36_000 {
        scene.upsert(&pod("a", None));
        if !scene.is_over(&of_namespace()) {
            closed += SECOND / 10;
        }
        scene.pass(SECOND / 10);
        scene.delete("a");
    }
    let hour = 3_600 * SECOND;
    assert!(closed > hour / 5 && closed < hour * 2 / 5, "{closed:?} of an hour");
    // Nothing is kept of what is long ago.
    assert_eq!((scene.pod_waits.pods.len(), scene.pod_waits.accounts.len()), (0, 1));
    assert!(scene.pod_waits.due.len() <= 1);
}

#[test]
fn who_closes_nothing_is_charged_nothing() {
    let mut scene = Scene::new();
    scene.isolated = false;
    for number in 0..10 {
        scene.upsert(&pod(&format!("p{number}"), None));
    }
    scene.pass(120 * SECOND);
    assert_eq!(
        (scene.overdue.len(), scene.pod_waits.accounts.len()),
        (10, 0),
        "each is overdue all the same"
    );
}
