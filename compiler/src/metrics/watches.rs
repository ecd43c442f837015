//! What the watches have been through.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::source::kubernetes::{KindStatistics, Statistics};

/// Reads the counters of the watches when they are asked for.
#[derive(Debug)]
pub(super) struct WatchCollector(pub(super) Arc<Statistics>);

impl Collector for WatchCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        type Count = fn(&KindStatistics) -> u64;
        let counters: [(&str, &str, Count); 5] = [
            ("watch_listings", "Listings that were read completely.", KindStatistics::listings),
            ("watches", "Watches that the server accepted.", KindStatistics::watches),
            ("watch_events", "Events of objects.", KindStatistics::events),
            ("watch_failures", "Requests and streams that failed.", KindStatistics::failures),
            (
                "watch_expirations",
                "Resumptions that the server did not remember.",
                KindStatistics::expirations,
            ),
        ];
        for (name, help, count) in counters {
            let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (kind, statistics) in self.0.kinds() {
                let counter = ConstCounter::new(count(statistics));
                counter.encode(encoder.encode_family(&[("kind", kind)])?)?;
            }
        }
        let mut watching = encoder.encode_descriptor(
            "watching",
            "1 while a watch is open, else 0.",
            None,
            MetricType::Gauge,
        )?;
        for (kind, statistics) in self.0.kinds() {
            ConstGauge::new(i64::from(statistics.watching()))
                .encode(watching.encode_family(&[("kind", kind)])?)?;
        }
        let help = "Seconds since the server last said something about the kind.";
        let mut ages =
            encoder.encode_descriptor("watch_age", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for (kind, statistics) in self.0.kinds() {
            let Some(age) = statistics.age() else { continue };
            ConstGauge::new(age.as_secs_f64()).encode(ages.encode_family(&[("kind", kind)])?)?;
        }
        Ok(())
    }
}
