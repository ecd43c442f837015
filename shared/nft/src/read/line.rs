//! Lines: what a script is a sequence of, and where each may stand.

use std::fmt;

use flock_shared::steps::STEP;
use flock_shared::{MARKER_PREFIX, PAST_PREFIX, Revision, TABLE};

use super::element::{self, Item};
use super::{name, rule};
use crate::model::{Hook, Rule, SetType};
use crate::name::{ChainName, MapName, SetName, TableName};
use crate::port::Protocol;
use crate::words::{fields_of, write_key};

/// What has elements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Object {
    /// A set.
    Set(SetName),
    /// A verdict map.
    Map(MapName),
}

/// A line of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `# step`: what stands before it is committed first.
    Step,
    /// `add table …`.
    AddTable(TableName),
    /// `delete table …`.
    DeleteTable(TableName),
    /// `table … {`.
    Table(TableName),
    /// The head of a set or map in a table's block.
    Object(Object),
    /// `typeof …`.
    TypeOf(Object),
    /// What belongs to what is there: its flags, its size, how long elements stay.
    Property(&'static str),
    /// `elements = {`.
    Elements,
    /// Elements, and whether more follow on the next line.
    Items(Vec<Item>, bool),
    /// The end of elements.
    EndElements,
    /// The head of a chain.
    Chain(ChainName),
    /// Where the kernel calls the chain.
    Hook(Hook),
    /// A rule of the chain.
    Rule(Rule),
    /// The end of a set, map or chain.
    EndObject,
    /// The end of a table's block.
    EndTable,
    /// `delete element …`.
    DeleteElements(Object, Vec<Item>),
    /// `flush chain …`.
    FlushChain(ChainName),
    /// `add rule …`.
    AddRule(ChainName, Rule),
    /// `delete chain …`.
    DeleteChain(ChainName),
    /// `delete set …` or `delete map …`.
    DeleteObject(Object),
    /// The marker of a revision is added.
    Mark(Revision),
    /// The marker of a revision is deleted.
    Unmark(Revision),
    /// The chain that says that the table has gone on from a revision, which must not be there.
    CreatePast(Revision),
    /// The rule of that chain, which needs the marker.
    PastRule(Revision),
    /// The same chain, whether or not it is there.
    AddPast(Revision),
    /// The same chain goes.
    DeletePast(Revision),
}

/// Where a line stands, which decides what it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Outside of blocks.
    Top,
    /// In a table.
    Table(TableName),
    /// Behind the head of a set or map.
    Head(Object),
    /// Where the properties of a set or map that has some are: these are left.
    Properties(Object, &'static [&'static str]),
    /// Where elements may begin.
    Body(Object),
    /// Among elements.
    Items(Object),
    /// Behind the last elements.
    LastItem(Object),
    /// Behind all of a set or map.
    Foot(Object),
    /// Behind the head of a base chain.
    Hook(ChainName, Hook),
    /// Among the rules of a chain.
    Rules(ChainName),
}

impl Object {
    /// What its elements are.
    #[must_use]
    pub const fn kind(&self) -> SetType {
        match self {
            Self::Set(name) => name.kind(),
            Self::Map(name) => name.kind(),
        }
    }

    /// The protocol of its ports, where its name alone says which.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Set(SetName::Contested(.., protocol)) | Self::Map(MapName::PortRanges(.., protocol)) => {
                Some(*protocol)
            }
            _ => None,
        }
    }

    /// The table that it is in.
    #[must_use]
    pub const fn table(&self) -> TableName {
        match self {
            Self::Set(name) => name.table(),
            Self::Map(_) => TableName::Inet,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(name) => name.fmt(f),
            Self::Map(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("a statement on our table"),
            Self::Table(_) => f.write_str("a set, map or chain of ours, or the end of the table"),
            Self::Head(object) => write!(f, "what {object} holds, by typeof"),
            Self::Properties(object, _) => write!(f, "a property of {object}"),
            Self::Body(object) => write!(f, "the elements or the end of {object}"),
            Self::Items(object) => write!(f, "elements of {object}"),
            Self::LastItem(object) => write!(f, "the end of the elements of {object}"),
            Self::Foot(object) => write!(f, "the end of {object}"),
            Self::Hook(_, hook) => write!(f, "\"{hook}\""),
            Self::Rules(chain) => write!(f, "a rule or the end of {chain}"),
        }
    }
}

/// Reads a line that stands there; and where the next one stands.
pub(super) fn read(text: &str, place: &Place) -> Option<(Line, Place)> {
    // The writer indents by depth; nothing else begins with a tab.
    let depth = |tabs: &str| text.strip_prefix(tabs).filter(|text| !text.starts_with('\t'));
    match place {
        Place::Top => top(text),
        Place::Table(table) => match (text, depth("\t")) {
            ("}", _) => Some((Line::EndTable, Place::Top)),
            (_, Some(head)) => self::head(head, *table),
            _ => None,
        },
        Place::Head(object) => {
            // What follows is not read: the object's name tells its type, and the line is compared with what is written
            // of that.
            depth("\t\t")?.strip_prefix("typeof ")?;
            Some((Line::TypeOf(object.clone()), behind(object, object.kind().properties())))
        }
        // Nothing of the line is read, for the same reason.
        Place::Properties(object, left) => {
            let (property, left) = left.split_first()?;
            Some((Line::Property(property), behind(object, left)))
        }
        Place::Body(object) if depth("\t\t").is_some() => {
            Some((Line::Elements, Place::Items(object.clone())))
        }
        Place::Items(object) => {
            let text = depth("\t\t\t")?;
            let (text, more) = text.strip_suffix(',').map_or((text, false), |text| (text, true));
            let items = element::list(text, |text| match object {
                Object::Set(_) => element::item(text, object),
                Object::Map(_) => element::mapped(text, object),
            })?;
            let next = if more { Place::Items } else { Place::LastItem };
            Some((Line::Items(items, more), next(object.clone())))
        }
        Place::LastItem(object) => Some((Line::EndElements, Place::Foot(object.clone()))),
        Place::Body(object) | Place::Foot(object) => Some((Line::EndObject, Place::Table(object.table()))),
        // Not read either: the name tells where the chain hooks in.
        Place::Hook(chain, hook) => Some((Line::Hook(*hook), Place::Rules(chain.clone()))),
        Place::Rules(chain) => match depth("\t\t") {
            Some(text) => Some((Line::Rule(rule::rule(text)?), Place::Rules(chain.clone()))),
            None => Some((Line::EndObject, Place::Table(chain.table()))),
        },
    }
}

/// Where a line stands while so many properties of the object are left to say.
fn behind(object: &Object, left: &'static [&'static str]) -> Place {
    if left.is_empty() { Place::Body(object.clone()) } else { Place::Properties(object.clone(), left) }
}

/// The head of an object in the block of a table.
fn head(text: &str, table: TableName) -> Option<(Line, Place)> {
    // A name says in which table its object is. In the other one it would be none that anybody counts.
    let (kind, name) = text.strip_suffix(" {")?.split_once(' ')?;
    if kind == "chain" {
        let chain = name::chain(name).filter(|chain| chain.table() == table)?;
        let next = match chain.hook() {
            Some(hook) => Place::Hook(chain.clone(), hook),
            None => Place::Rules(chain.clone()),
        };
        return Some((Line::Chain(chain), next));
    }
    let object = object(kind, name).filter(|object| object.table() == table)?;
    Some((Line::Object(object.clone()), Place::Head(object)))
}

fn object(kind: &str, text: &str) -> Option<Object> {
    match kind {
        "set" => name::set(text).map(Object::Set),
        "map" => name::map(text).map(Object::Map),
        _ => None,
    }
}

/// A statement outside of blocks.
fn top(text: &str) -> Option<(Line, Place)> {
    let table_at = |text: &str| TableName::ALL.into_iter().find(|table| table.as_str() == text);
    if text == STEP {
        return Some((Line::Step, Place::Top));
    }
    if let Some(table) = text.strip_prefix("table ").and_then(|text| text.strip_suffix(" {")) {
        let table = table_at(table)?;
        return Some((Line::Table(table), Place::Table(table)));
    }
    let mut words = text.splitn(3, ' ');
    let (verb, kind, rest) = (words.next()?, words.next()?, words.next()?);
    let line = match (verb, kind) {
        ("add", "table") => Line::AddTable(table_at(rest)?),
        ("delete", "table") => Line::DeleteTable(table_at(rest)?),
        _ => {
            let named =
                |table: TableName| Some((table, rest.strip_prefix(table.as_str())?.strip_prefix(' ')?));
            let (table, rest) = TableName::ALL.into_iter().find_map(named)?;
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            statement(verb, kind, table, name, rest)?
        }
    };
    Some((line, Place::Top))
}

/// A statement on an object of a table.
fn statement(verb: &str, kind: &str, table: TableName, word: &str, rest: &str) -> Option<Line> {
    let past = || name::revision(word, PAST_PREFIX);
    let mark = || name::revision(word, MARKER_PREFIX);
    let chain = || name::chain(word).filter(|chain| chain.table() == table);
    let object = |kind| object(kind, word).filter(|object| object.table() == table);
    Some(match (verb, kind) {
        ("delete", "element") => {
            // The statement says "element" of both; no set has the name of a map.
            let object = object("set").or_else(|| object("map"))?;
            let items = rest.strip_prefix("{ ")?.strip_suffix(" }")?;
            let items = element::list(items, |text| element::item(text, &object))?;
            Line::DeleteElements(object, items)
        }
        ("flush", "chain") => Line::FlushChain(chain()?),
        // The rule of such a chain is always the same, so what follows is left to the comparison.
        ("add", "rule") => match past() {
            Some(revision) => Line::PastRule(revision),
            None => Line::AddRule(chain()?, rule::rule(rest)?),
        },
        // Outside of blocks only markers are added.
        ("add", "set") => Line::Mark(mark()?),
        ("create", "chain") => Line::CreatePast(past()?),
        ("add", "chain") => Line::AddPast(past()?),
        ("delete", "chain") => match past() {
            Some(revision) => Line::DeletePast(revision),
            None => Line::DeleteChain(chain()?),
        },
        ("delete", "set") => match mark() {
            Some(revision) => Line::Unmark(revision),
            None => Line::DeleteObject(object("set")?),
        },
        ("delete", "map") => Line::DeleteObject(object("map")?),
        _ => return None,
    })
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |object: &Object| if matches!(object, Object::Set(_)) { "set" } else { "map" };
        match self {
            Self::Step => f.write_str(STEP),
            Self::AddTable(table) => write!(f, "add table {table}"),
            Self::DeleteTable(table) => write!(f, "delete table {table}"),
            Self::Table(table) => write!(f, "table {table} {{"),
            Self::Object(object) => write!(f, "\t{} {object} {{", kind(object)),
            Self::TypeOf(object) => {
                f.write_str("\t\ttypeof ")?;
                write_key(f, fields_of(object.kind()).into_iter().flatten())?;
                f.write_str(if matches!(object, Object::Map(_)) { " : verdict" } else { "" })
            }
            Self::Property(property) => write!(f, "\t\t{property}"),
            Self::Elements => f.write_str("\t\telements = {"),
            Self::Items(items, more) => {
                f.write_str("\t\t\t")?;
                write_items(f, items)?;
                f.write_str(if *more { "," } else { "" })
            }
            Self::EndElements => f.write_str("\t\t}"),
            Self::Chain(chain) => write!(f, "\tchain {chain} {{"),
            Self::Hook(hook) => write!(f, "\t\t{hook}"),
            Self::Rule(rule) => write!(f, "\t\t{rule}"),
            Self::EndObject => f.write_str("\t}"),
            Self::EndTable => f.write_str("}"),
            Self::DeleteElements(object, items) => {
                write!(f, "delete element {} {object} {{ ", object.table())?;
                write_items(f, items)?;
                f.write_str(" }")
            }
            Self::FlushChain(chain) => write!(f, "flush chain {} {chain}", chain.table()),
            Self::AddRule(chain, rule) => write!(f, "add rule {} {chain} {rule}", chain.table()),
            Self::DeleteChain(chain) => write!(f, "delete chain {} {chain}", chain.table()),
            Self::DeleteObject(object) => write!(f, "delete {} {} {object}", kind(object), object.table()),
            Self::Mark(revision) => {
                write!(f, "add set {TABLE} {MARKER_PREFIX}{revision} {{ typeof ip saddr; }}")
            }
            Self::Unmark(revision) => write!(f, "delete set {TABLE} {MARKER_PREFIX}{revision}"),
            Self::CreatePast(revision) => write!(f, "create chain {TABLE} {PAST_PREFIX}{revision}"),
            Self::PastRule(revision) => {
                write!(f, "add rule {TABLE} {PAST_PREFIX}{revision} ip saddr @{MARKER_PREFIX}{revision}")
            }
            Self::AddPast(revision) => write!(f, "add chain {TABLE} {PAST_PREFIX}{revision}"),
            Self::DeletePast(revision) => write!(f, "delete chain {TABLE} {PAST_PREFIX}{revision}"),
        }
    }
}

fn write_items(f: &mut fmt::Formatter<'_>, items: &[Item]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        f.write_str(if index > 0 { ", " } else { "" })?;
        write!(f, "{item}")?;
    }
    Ok(())
}
