//! A judge's index: kept up to date, it is the one that is made from nothing, and whoever looks things up finds what is found
//! among all objects.

use flock_compiler_core::judge::{Index, Judge};
use flock_compiler_core::{Change, Edit, UnreadyPods};
use proptest::collection::vec;

use crate::for_clusters;
use crate::judge::between;
use crate::support::{generator, to_core};

const CLUSTERS: u32 = 150;
const FLOWS: usize = 40;

#[test]
fn an_index_that_follows_changes_is_the_one_made_from_nothing() {
    let next = (generator::cluster(), vec(generator::flows::flow(), FLOWS));
    for_clusters(CLUSTERS, next, |before, (after, flows)| {
        let mut world = to_core::world(before);
        let mut index = Index::new(&world);
        let facts = |number: usize, node: &str| {
            let blocks: Vec<_> = after.nodes.iter().flat_map(|node| node.pod_cidrs.iter().copied()).collect();
            Change::Facts(Edit::Upsert(to_core::facts(node, &blocks, number)))
        };
        let names = before.node_names();
        let told = names.iter().enumerate().map(|(number, node)| facts(number, node));
        let again = names.iter().enumerate().map(|(number, node)| facts(number + 1, node));
        let pod = world.pods().keys().next().cloned().map(|key| Change::Pod(Edit::Delete(key)));
        let policy = world.policies().keys().next().cloned().map(|key| Change::Policy(Edit::Delete(key)));
        let changes = told.chain(pod).chain(policy).chain(again).chain(to_core::listings(&after));
        for change in changes.collect::<Vec<_>>() {
            index.follow(&world.apply(change));
            if index != Index::new(&world) {
                return Err(format!("{index:#?}\nfrom nothing: {:#?}", Index::new(&world)));
            }
        }
        for unready in [UnreadyPods::Expected, UnreadyPods::Drop] {
            let scanning = Judge::new(&world, unready);
            let looking_up = Judge::with_index(&world, unready, &index);
            for asked in &flows {
                let Some(flow) = between(&after, &scanning, asked) else { continue };
                let found = between(&after, &looking_up, asked).map(|flow| looking_up.judge(&flow));
                if found != Some(scanning.judge(&flow)) {
                    return Err(format!("{asked}: {found:?}; among all: {:?}", scanning.judge(&flow)));
                }
            }
        }
        Ok(())
    });
}
