//! What gets lost on the way: acks, the end of a stream, half an update.

use super::cutter::Cutter;
use super::proxy::{Faults, Proxy};
use crate::support::wait::wait_until;

#[test]
fn a_stream_that_ends_before_the_ack_is_opened_again() {
    let Some(site) = super::site("ended") else { return };
    let proxy = Proxy::start(&site.compiler.url());
    let _agents = site.agents_by_way_of(&proxy.url);
    for number in 10..13 {
        let streams = proxy.streams();
        proxy.set(Faults { end_after_update: 1, ..Faults::default() });
        site.change(number);
        wait_until("another stream", || proxy.streams() > streams);
        site.converges(&format!("{number}"));
        assert!(proxy.is_done());
    }
}

#[test]
fn an_update_that_is_cut_off_is_sent_again() {
    let Some(site) = super::site("cut") else { return };
    let cutter = Cutter::start(&site.compiler.url());
    let _agents = site.agents_by_way_of(&cutter.url);
    for (cuts, bytes) in (1..).zip([0, 1, 10, 100, 300]) {
        cutter.cut_after(bytes);
        site.change(10 + u8::try_from(cuts).unwrap());
        wait_until("the cut", || cutter.cuts() == cuts);
        site.converges(&format!("{bytes}"));
    }
}
