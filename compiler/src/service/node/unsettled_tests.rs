//! When what was revoked is told.

use flock_compiler_core::Translator;

use super::*;

const STEP: Duration = Duration::from_millis(50);

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// What a pass has revoked; nobody looks at what it is.
fn revoked(sequence: Sequence, by: &[&str]) -> Revoked {
    let translator = Translator::new();
    let states: Vec<_> = by.iter().map(|name| translator.elsewhere(node(name))).collect();
    Revoked { elsewhere: Arc::new(Elsewhere::of_unknown(&states)), sequence }
}

/// Time, and how far each node is; whoever is not named is away.
struct Talk {
    unsettled: Unsettled,
    start: Instant,
    now: Instant,
    reached: BTreeMap<NodeName, Sequence>,
}

impl Talk {
    fn new(here: &[&str]) -> Self {
        let now = Instant::now();
        let reached = here.iter().map(|name| (node(name), Sequence::default())).collect();
        Self { unsettled: Unsettled::new(now), start: now, now, reached }
    }

    fn revoked(&mut self, sequence: Sequence, by: &[&str]) {
        self.unsettled.revoked(revoked(sequence, by), self.now);
    }

    fn reaches(&mut self, name: &str, sequence: Sequence) {
        self.reached.insert(node(name), sequence);
    }

    fn look(&mut self) -> Vec<Tell> {
        let reached = &self.reached;
        self.unsettled.look(self.now, |node, sequence| match reached.get(node) {
            None => NodeProgress::Away,
            Some(reached) if *reached >= sequence => NodeProgress::Reached,
            Some(_) => NodeProgress::Behind,
        })
    }

    /// When something is told until so much time has passed since the start, in milliseconds since then.
    fn tells_until(&mut self, millis: u64) -> Vec<u128> {
        let mut told = Vec::new();
        while self.now < self.start + Duration::from_millis(millis) {
            self.now += STEP;
            let at = (self.now - self.start).as_millis();
            told.extend(self.look().iter().map(|_| at));
        }
        told
    }
}

fn first() -> Sequence {
    Sequence::default().next()
}

#[test]
fn it_is_told_once_when_the_last_node_denies_it() {
    let mut talk = Talk::new(&["a", "b"]);
    talk.revoked(first(), &["a", "b"]);
    talk.reaches("a", first());
    assert!(talk.look().is_empty());
    talk.reaches("b", first().next());
    assert_eq!(talk.look().len(), 1);
    assert!(talk.look().is_empty());
    assert_eq!(talk.unsettled.pause(talk.now), None);
}

#[test]
fn a_slow_node_is_not_waited_for_and_what_it_comes_to_deny_is_told() {
    let mut talk = Talk::new(&["slow", "quick"]);
    talk.revoked(first(), &["slow", "quick"]);
    talk.reaches("quick", first());
    assert_eq!(talk.tells_until(60_000), [250, 1500, 10_000]);
    assert!(talk.unsettled.pause(talk.now).is_some(), "it is here, and will deny it one day");
    talk.reaches("slow", first());
    assert_eq!(talk.look().len(), 1);
    assert_eq!(talk.unsettled.pause(talk.now), None);
}

#[test]
fn nodes_that_come_one_by_one_are_told_of_together() {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut talk = Talk::new(&names);
    talk.revoked(first(), &names);
    let mut told = Vec::new();
    for name in &names {
        talk.reaches(name, first());
        let until = u64::try_from((talk.now - talk.start + STEP).as_millis()).unwrap();
        told.extend(talk.tells_until(until));
    }
    assert_eq!(told, [250, 1250, 1500, 2500, 3500, 4500, 5000]);
}

#[test]
fn nodes_that_others_may_serve_are_given_up_after_a_while() {
    let mut talk = Talk::new(&["here"]);
    talk.revoked(first(), &["here", "elsewhere"]);
    talk.reaches("here", first());
    assert_eq!(talk.tells_until(60_000), [50, 1500, 10_000], "who is here is told at once");
    assert_eq!(talk.unsettled.pause(talk.now), None);
}

#[test]
fn what_is_outstanding_has_a_bound() {
    let mut talk = Talk::new(&["stuck", "other"]);
    let mut sequence = Sequence::default();
    for _ in 0..1_000 {
        sequence = sequence.next();
        talk.revoked(sequence, &["stuck", "other"]);
        talk.reaches("other", sequence);
        talk.look();
    }
    assert_eq!(talk.unsettled.outstanding.len(), OUTSTANDING);
    talk.reaches("stuck", first());
    talk.look();
    assert_eq!(talk.unsettled.outstanding.len(), OUTSTANDING, "the first is one of those that are one now");
    talk.reaches("stuck", sequence);
    let tells = talk.look();
    assert!(matches!(tells[..], [Tell::Anything]), "{tells:?}");
    assert_eq!(talk.unsettled.pause(talk.now), None);
}

#[test]
fn what_has_become_one_is_told_while_more_joins_it() {
    let mut talk = Talk::new(&["stuck"]);
    let (mut sequence, mut told) = (Sequence::default(), 0);
    for _ in 0..400 {
        for _ in 0..10 {
            sequence = sequence.next();
            talk.revoked(sequence, &["stuck"]);
        }
        talk.now += STEP;
        told += talk.look().len();
    }
    assert!((3..=8).contains(&told), "{told}");
}

#[test]
fn a_node_that_was_given_up_is_told_of_when_it_comes() {
    let mut talk = Talk::new(&[]);
    let one = state("one", 2);
    talk.unsettled.came(Arc::clone(&one));
    assert!(talk.look().is_empty(), "nobody has waited for it");
    talk.revoked(first(), &["one"]);
    talk.tells_until(11_000);
    talk.unsettled.came(Arc::clone(&one));
    assert_eq!(talk.look().len(), 1);
    talk.unsettled.came(one);
    assert_eq!(talk.tells_until(60_000), [0; 0]);
}

/// What a node has with so many isolated pods.
fn state(name: &str, pods: u16) -> Arc<Output> {
    use flock_compiler_core::object::{Lifecycle, Pod, PodNetwork, Policy, PolicyBody, PolicyRules};
    use flock_compiler_core::sorted::Sorted;
    use flock_compiler_core::{Change, Edit, Labels, Selector};
    use flock_shared::{PodKey, PolicyKey};

    let mut translator = Translator::new();
    for pod in 0..pods {
        let [high, low] = pod.to_be_bytes();
        let address = std::net::IpAddr::from([10, 0, high, low]);
        translator.apply(Change::Pod(Edit::Upsert(Pod {
            key: PodKey::new("shop", &format!("pod-{pod}")).unwrap(),
            uid: None,
            node: Some(node(name)),
            labels: Labels::default(),
            network: PodNetwork::own([address].into_iter().collect(), None),
            lifecycle: Lifecycle::Live,
            ports: Sorted::default(),
            scheduled: None,
            owner: Default::default(),
            faults: Vec::new(),
        })));
    }
    translator.apply(Change::Policy(Edit::Upsert(Policy::new(
        PolicyKey::new("shop", "deny").unwrap(),
        Selector::everything(),
        PolicyBody::Understood(PolicyRules { ingress: Some([].into()), ..PolicyRules::default() }),
    ))));
    translator.pass();
    translator.output(&node(name)).unwrap()
}

#[test]
fn a_node_of_unknown_past_is_told_of_by_its_pods_and_not_too_often() {
    let mut talk = Talk::new(&[]);
    let [one, other] = [("one", 2), ("other", 1)].map(|(name, pods)| state(name, pods));
    talk.unsettled.stands_anew(Arc::clone(&one));
    let [Tell::Revoked(told)] = &talk.look()[..] else { panic!("it should be told") };
    assert_eq!(told.concerning(&other).iter().count(), 2);
    // Whatever it says meanwhile, and others have their turn.
    for _ in 0..100 {
        talk.unsettled.stands_anew(Arc::clone(&one));
    }
    talk.unsettled.stands_anew(other);
    assert_eq!(talk.tells_until(60_000), [1000, 30_000]);
    assert_eq!(talk.unsettled.pause(talk.now), None);
    talk.look();
    assert!(talk.unsettled.unknown.told.len() <= 1, "forgotten in time");
}

#[test]
fn many_pods_of_unknown_past_are_not_named() {
    let mut talk = Talk::new(&[]);
    let large = u16::try_from(ADDRESSES).unwrap();
    talk.unsettled.stands_anew(state("large", large));
    assert!(matches!(talk.look()[..], [Tell::Revoked(_)]));
    talk.unsettled.stands_anew(state("larger", large + 1));
    assert_eq!(talk.tells_until(500), [0; 0]);
    talk.now += PERIOD;
    assert!(matches!(talk.look()[..], [Tell::Anything]));
    talk.unsettled.stands_anew(state("small", 1));
    talk.now += PERIOD;
    assert!(talk.look().is_empty(), "everybody looks at everything already");
    talk.now += LONG_PERIOD;
    assert_eq!(talk.look().len(), 1);
}
