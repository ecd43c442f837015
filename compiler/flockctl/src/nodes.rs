//! `nodes`: every replica is asked, and what they say is one table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::time::Duration;

use flock_proto::v1::ListNodesRequest;
use prost_types::Timestamp;

use crate::Program;
use crate::cli::Format;
use crate::failure::Failure;
use crate::merge::{self, Answer, Asked, Row};
use crate::print;
use crate::replica::{Missed, Replicas, Total};
use crate::run::{Asker, Outcome};
use crate::target::Target;

/// How long a replica may take to read what another one has read, before it is told.
const LAG: Duration = Duration::from_millis(500);
/// Between two looks of `--watch`.
const PERIOD: Duration = Duration::from_secs(2);
/// So many looks go over one connection: replicas come and go, and so do tokens.
const LOOKS: usize = 15;

/// What is asked about.
#[derive(Debug)]
pub(crate) struct Query {
    /// Empty: all.
    pub(crate) names: Vec<String>,
    /// Only those that are not current.
    pub(crate) behind: bool,
}

/// What the replicas say of the nodes.
pub(crate) struct View {
    pub(crate) rows: Vec<Row>,
    pub(crate) asked: Asked,
    /// The replicas that are at older objects, in words.
    pub(crate) lagging: Vec<String>,
    /// When the first certificate ends, of those of which it is told.
    pub(crate) certificate_expiry: Option<Timestamp>,
    /// What there is to say beside it, for people.
    notes: Vec<String>,
}

/// Asks every replica that can be reached.
///
/// # Errors
/// When none answers.
pub(crate) async fn look(replicas: &mut Replicas) -> Result<View, Failure> {
    look_for(replicas, ListNodesRequest::default()).await
}

/// Asks every replica that can be reached for this.
///
/// # Errors
/// When none answers.
pub(crate) async fn look_for(replicas: &mut Replicas, request: ListNodesRequest) -> Result<View, Failure> {
    let first = list(replicas, request).await?;
    // Lists of one moment mostly agree, and then nobody waits.
    let (answers, lagging) = if merge::lagging(&first, &first).is_empty() {
        (first, Vec::new())
    } else {
        // They are asked one moment after the other: what was read meanwhile is no lag.
        tokio::time::sleep(LAG).await;
        let second = list(replicas, request).await?;
        // Against the first answers: what was seen since then may still be on its way to the others.
        let lagging = merge::lagging(&first, &second);
        (second, lagging)
    };
    let said = answers.iter().map(|(_, answer)| answer.replicas);
    let asked = match replicas.total {
        Total::Running(total) => Asked { asked: answers.len(), total: Some(total) },
        Total::Named(named) => Asked::of_named(named, answers.len(), said),
    };
    let rows = merge::rows(&answers, asked.others());
    let mut notes: Vec<String> = replicas.missed.iter().map(Missed::to_string).collect();
    notes.extend(partly(asked, rows.iter().any(Row::is_not_known)));
    notes.extend(lagging.iter().cloned());
    let expiries = answers.iter().filter_map(|(_, answer)| answer.certificate_expiry);
    let certificate_expiry = expiries.min_by_key(|at| at.seconds);
    Ok(View { rows, asked, lagging, certificate_expiry, notes })
}

async fn list(replicas: &mut Replicas, request: ListNodesRequest) -> Result<Vec<Answer>, Failure> {
    let asked = replicas.ask(async |mut client| Ok(client.list_nodes(request).await?.into_inner()));
    let (answers, missed) = asked.await.any()?;
    // Kept with the connections: who has failed is not asked again, and is still to be told of with the next look.
    replicas.missed.extend(missed);
    Ok(merge::distinct(answers))
}

/// That not all replicas were asked.
fn partly(Asked { asked, total }: Asked, matters: bool) -> Option<String> {
    let unknown = "nodes that others serve are not known";
    match total {
        Some(total) if asked < total => Some(format!("asked {asked} of {total} replicas; {unknown}")),
        None if matters => Some(format!(
            "asked {asked} replica, which cannot tell how many there are; {unknown} (--compiler URL,URL asks several)"
        )),
        _ => None,
    }
}

impl Query {
    /// The rows that are asked for.
    fn of<'a>(&self, rows: &'a [Row]) -> Result<Vec<&'a Row>, Failure> {
        let known: BTreeSet<&str> = rows.iter().map(|row| row.status.node.as_str()).collect();
        let missing: Vec<String> =
            self.names.iter().filter(|name| !known.contains(name.as_str())).map(missing).collect();
        if !missing.is_empty() {
            return Err(Failure::question(missing.join("; ")));
        }
        Ok(rows.iter().filter(|row| self.is_about(row)).collect())
    }

    fn is_about(&self, row: &Row) -> bool {
        self.names.is_empty() || self.names.contains(&row.status.node)
    }

    fn shows(&self, row: &Row) -> bool {
        !self.behind || !row.is_current()
    }
}

fn missing(name: &String) -> String {
    format!("no node {name:?}: it has no Node object, no pod and no connected agent")
}

/// Prints the nodes once. They are not all current if some are not, or are not known.
pub(crate) async fn once(target: &Target, query: &Query, asker: &Asker<'_>) -> Result<Outcome, Failure> {
    let mut replicas = target.open().await?;
    let View { rows, asked, notes, .. } = look(&mut replicas).await?;
    let rows = query.of(&rows)?;
    // Before anything is printed: a question that fails leaves no half of an answer behind.
    let hint = match asker.format {
        Format::Table => asker.hint(&mut replicas).await?,
        Format::Json | Format::Yaml => None,
    };
    say(asker.program, &notes);
    let shown: Vec<&Row> = rows.iter().copied().filter(|row| query.shows(row)).collect();
    print::nodes(&shown, &print::summary(&rows, asked), hint.as_deref(), asker.format)?;
    // Of all that were asked about, and not of what `--behind` shows, which never is.
    Ok(if rows.iter().all(|row| row.is_current()) { Outcome::Yes } else { Outcome::No })
}

/// Prints the nodes, and each of them again when it changes, until there is no way to ask any more.
pub(crate) async fn watch(target: &Target, query: &Query, asker: &Asker<'_>) -> Result<Outcome, Failure> {
    let mut table = Changes { query, format: asker.format, shown: BTreeMap::new(), begun: false };
    let (mut said, mut is_broken) = (Vec::new(), false);
    loop {
        let mut replicas = target.open().await?;
        let reached = replicas.open.len();
        for _ in 0..LOOKS {
            let notes = match look(&mut replicas).await {
                Ok(View { rows, notes, .. }) => {
                    table.show(&rows)?;
                    is_broken = false;
                    notes
                }
                // What may be the connection's fault is tried once more over another one.
                Err(failure) if is_broken || !table.begun => return Err(failure),
                Err(failure) => {
                    is_broken = true;
                    vec![format!("{}; asking again", failure.words())]
                }
            };
            // A replica that is missing or lags would else be told with every look.
            if notes != said {
                say(asker.program, &notes);
                said = notes;
            }
            tokio::time::sleep(PERIOD).await;
            // Who has failed is not asked again over this connection, so all are connected to anew.
            if replicas.open.len() < reached {
                break;
            }
        }
    }
}

/// The nodes that are watched.
struct Changes<'a> {
    query: &'a Query,
    format: Format,
    /// What was printed of each last.
    shown: BTreeMap<String, String>,
    begun: bool,
}

impl Changes<'_> {
    fn show(&mut self, rows: &[Row]) -> Result<(), Failure> {
        // A node that was there may go.
        let about: Vec<&Row> = if self.begun {
            rows.iter().filter(|row| self.query.is_about(row)).collect()
        } else {
            self.query.of(rows)?
        };
        let width = about.iter().map(|row| row.status.node.len()).max().unwrap_or_default();
        if !self.begun {
            print::head(width, self.format)?;
        }
        self.begun = true;
        for row in &about {
            // Not as it is padded, which follows the longest name.
            let plain = print::line(row, 0, self.format)?;
            let before = self.shown.get(&row.status.node);
            // Of those that were behind it is told that they are not any more.
            if before == Some(&plain) || before.is_none() && !self.query.shows(row) {
                continue;
            }
            print::write(&print::line(row, width, self.format)?)?;
            // With `--behind`, what has caught up is forgotten: it is printed again once it is behind.
            match self.query.shows(row) {
                true => self.shown.insert(row.status.node.clone(), plain),
                false => self.shown.remove(&row.status.node),
            };
        }
        let there: BTreeSet<&str> = about.iter().map(|row| row.status.node.as_str()).collect();
        let gone: Vec<String> =
            self.shown.keys().filter(|name| !there.contains(name.as_str())).cloned().collect();
        for name in gone {
            self.shown.remove(&name);
            print::write(&print::gone(&name, width, self.format)?)?;
        }
        Ok(())
    }
}

/// Says something beside the answer.
pub(crate) fn say(program: Program, notes: &[String]) {
    for note in notes {
        // Who does not read this may still read the answer.
        drop(writeln!(io::stderr(), "{program}: {note}"));
    }
}
