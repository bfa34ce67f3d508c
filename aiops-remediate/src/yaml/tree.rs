//! A tree of a YAML text in which every value knows its place.
//!
//! Aliases share their node, so that text which multiplies itself costs no memory; what it would
//! expand to is counted, and refused above a limit. Merge keys (`<<`) are resolved here: a key that
//! is written out wins over a merged one, and of several merged maps the first that has the key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Span};

/// A catalogue of 10,000 actions with every key has about 140,000 values.
const MAX_VALUES: u64 = 250_000;

/// Our files are four levels deep.
const MAX_DEPTH: usize = 32;

/// Ours are shorter; merges could make a long one be hashed many times.
const MAX_KEY: usize = 256;

/// A place in the text, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Spot {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn of(marker: &Marker) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: narrow(marker.line()).max(1), column: narrow(marker.col()).saturating_add(1) }
    }

    /// The place that follows this text.
    pub(crate) fn after(text: &str) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let last = text.rsplit('\n').next().unwrap_or_default();
        Self { line: narrow(text.matches('\n').count() + 1), column: narrow(last.chars().count() + 1) }
    }
}

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) spot: Spot,
    pub(crate) kind: Kind,
    /// How many values it has with all aliases written out, itself included.
    values: u64,
    /// How many levels it has with all aliases written out, itself included.
    depth: usize,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// Text; `plain` without quotes, so that it may be a number, a boolean or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    /// In the order of the text, each key once, merged ones last.
    Map(Vec<Pair>),
}

#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) spot: Spot,
    /// Shared with the maps that merge this one.
    pub(crate) key: Rc<str>,
    pub(crate) value: Rc<Node>,
}

/// A fault of the text itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) spot: Spot,
    pub(crate) problem: String,
    pub(crate) help: String,
}

impl Fault {
    fn new(spot: Spot, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { spot, problem: problem.into(), help: help.into() }
    }
}

/// A list or map that is not closed yet.
struct Open {
    spot: Spot,
    anchor: usize,
    /// `None` for a list.
    keys: Option<HashMap<Rc<str>, Spot>>,
    /// A key that waits for its value; `Some(None)` where the key was no plain text.
    key: Option<Option<(Spot, Rc<str>, bool)>>,
    pairs: Vec<Pair>,
    merges: Vec<(Spot, Rc<Node>)>,
    items: Vec<Rc<Node>>,
    values: u64,
    depth: usize,
}

/// The tree of a text, and its faults; a tree only where it is whole. `None` without a fault is an
/// empty text.
pub(crate) fn parse(text: &str) -> (Option<Rc<Node>>, Vec<Fault>) {
    let mut builder = Builder::default();
    let whole = builder.run(text);
    (builder.root.filter(|_| whole), builder.faults)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    faults: Vec<Fault>,
}

impl Builder {
    /// Whether the text could be read to its end.
    fn run(&mut self, text: &str) -> bool {
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.emit_unresolved_aliases = true;
        options.block_nesting_limit = MAX_DEPTH;
        options.flow_nesting_limit = MAX_DEPTH;
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.faults.push(Fault::new(
                        Spot::of(error.marker()),
                        format!("not YAML: {}", error.info()),
                        "compare the indentation, quotes and brackets with the lines above",
                    ));
                    return false;
                }
            };
            if let Event::DocumentStart(..) = event {
                documents += 1;
                if documents > 1 {
                    let help = "put everything into one document, without `---` between";
                    self.faults.push(Fault::new(Spot::of(&span.start), "a second document begins here", help));
                    return false;
                }
            }
            if !self.take(event, &span) {
                return false;
            }
        }
        true
    }

    /// One event of the parser; `false` stops.
    fn take(&mut self, event: Event<'_>, span: &Span) -> bool {
        let spot = Spot::of(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(spot, tag.is_some());
                let plain = matches!(style, ScalarStyle::Plain);
                if self.wants_key() {
                    if text.len() > MAX_KEY {
                        let problem = format!("the key {} has more than {MAX_KEY} bytes", super::quoted(&text));
                        self.faults.push(Fault::new(spot, problem, "shorten it"));
                        return false;
                    }
                    self.key(spot, Rc::from(&*text), plain);
                    return true;
                }
                let kind = Kind::Scalar { text: text.into_owned(), plain };
                self.value(Rc::new(Node { spot, kind, values: 1, depth: 1 }), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => self.start(spot, anchor, tag.is_some(), None),
            Event::MappingStart(_, anchor, tag) => self.start(spot, anchor, tag.is_some(), Some(HashMap::new())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) if !self.wants_key() => {
                    let node = Rc::clone(node);
                    self.value(node, 0)
                }
                Some(_) => self.alias_key(spot),
                None => {
                    self.faults.push(Fault::new(
                        spot,
                        "this alias stands inside the value that it names",
                        "write the value out",
                    ));
                    false
                }
            },
            Event::UnresolvedAlias(name) => {
                let name = super::quoted(&name);
                let help = "define it above with `&`, or write the value out";
                self.faults.push(Fault::new(spot, format!("there is no anchor {name}"), help));
                false
            }
            _ => true,
        }
    }

    fn alias_key(&mut self, spot: Spot) -> bool {
        self.faults.push(Fault::new(spot, "an alias cannot be a key", "write the key out"));
        false
    }

    fn refuse_tag(&mut self, spot: Spot, tagged: bool) {
        if tagged {
            self.faults.push(Fault::new(
                spot,
                "the value has a type tag (`!…`)",
                "remove the tag: the key decides the type",
            ));
        }
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.keys.is_some() && open.key.is_none())
    }

    fn key(&mut self, spot: Spot, text: Rc<str>, plain: bool) {
        let Some(Open { keys: Some(keys), key, .. }) = self.open.last_mut() else { return };
        let first = match keys.entry(Rc::clone(&text)) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(free) => {
                free.insert(spot);
                None
            }
        };
        let Some(first) = first else {
            *key = Some(Some((spot, text, plain)));
            return;
        };
        // The first one is kept, the second one is read over.
        *key = Some(None);
        let problem = format!("duplicate key {}, first on line {}", super::quoted(&text), first.line);
        self.faults.push(Fault::new(spot, problem, "remove one of the two"));
    }

    fn start(&mut self, spot: Spot, anchor: usize, tagged: bool, keys: Option<HashMap<Rc<str>, Spot>>) -> bool {
        self.refuse_tag(spot, tagged);
        if self.wants_key() {
            self.faults.push(Fault::new(spot, "a list or map cannot be a key", "write the key as plain text"));
            return false;
        }
        self.open.push(Open {
            spot,
            anchor,
            keys,
            key: None,
            pairs: Vec::new(),
            merges: Vec::new(),
            items: Vec::new(),
            values: 1,
            depth: 1,
        });
        true
    }

    fn end(&mut self) -> bool {
        let Some(open) = self.open.pop() else { return true };
        let Open { spot, anchor, keys, mut pairs, merges, items, values, depth, .. } = open;
        let kind = match keys {
            None => Kind::List(items),
            Some(mut keys) => {
                for (spot, merged) in merges {
                    self.merge(spot, &merged, &mut keys, &mut pairs);
                }
                Kind::Map(pairs)
            }
        };
        self.value(Rc::new(Node { spot, kind, values, depth }), anchor)
    }

    /// A finished value: into the collection that is open, or as the root.
    fn value(&mut self, node: Rc<Node>, anchor: usize) -> bool {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return true;
        };
        open.values = open.values.saturating_add(node.values);
        open.depth = open.depth.max(node.depth + 1);
        let too_much = if open.values > MAX_VALUES {
            Some((open.spot, format!("more than {MAX_VALUES} values, aliases written out")))
        } else if open.depth > MAX_DEPTH {
            Some((node.spot, format!("more than {MAX_DEPTH} levels, aliases written out")))
        } else {
            None
        };
        if let Some((spot, problem)) = too_much {
            self.faults.push(Fault::new(spot, problem, "write the values out, without aliases of aliases"));
            return false;
        }
        if open.keys.is_none() {
            open.items.push(node);
            return true;
        }
        match open.key.take() {
            Some(Some((spot, key, true))) if &*key == "<<" => open.merges.push((spot, node)),
            Some(Some((spot, key, _))) => open.pairs.push(Pair { spot, key, value: node }),
            Some(None) | None => {}
        }
        true
    }

    fn merge(&mut self, spot: Spot, merged: &Node, keys: &mut HashMap<Rc<str>, Spot>, pairs: &mut Vec<Pair>) {
        match &merged.kind {
            Kind::Map(more) => {
                for pair in more {
                    if let Entry::Vacant(free) = keys.entry(Rc::clone(&pair.key)) {
                        free.insert(pair.spot);
                        pairs.push(pair.clone());
                    }
                }
            }
            Kind::List(maps) if maps.iter().all(|map| matches!(map.kind, Kind::Map(_))) => {
                for map in maps {
                    self.merge(spot, map, keys, pairs);
                }
            }
            _ => {
                let help = "write `<<: *name` with the anchor of a map above";
                self.faults.push(Fault::new(spot, "`<<` merges maps, and this is none", help));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let fault = |fault: &Fault| format!("{}:{}: {}", fault.spot.line, fault.spot.column, fault.problem);
        parse(text).1.iter().map(fault).collect()
    }

    fn map(node: &Node) -> Vec<(&str, &str)> {
        let Kind::Map(pairs) = &node.kind else { panic!("not a map") };
        pairs
            .iter()
            .map(|pair| match &pair.value.kind {
                Kind::Scalar { text, .. } => (&*pair.key, text.as_str()),
                _ => (&*pair.key, "…"),
            })
            .collect()
    }

    #[test]
    fn an_explicit_key_wins_over_a_merged_one() {
        let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], x: 9}\n";
        let (root, faults) = parse(text);
        assert_eq!(faults, []);
        let Kind::Map(pairs) = &root.as_ref().unwrap().kind else { panic!("not a map") };
        assert_eq!(map(&pairs[2].value), [("x", "9"), ("y", "2"), ("z", "4")]);
        assert_eq!(super::tests::faults("a: {<<: 3}"), ["1:5: `<<` merges maps, and this is none"]);
    }

    #[test]
    fn aliases_that_multiply_are_refused_before_they_are_written_out() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let alias = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![alias; 10].join(", ")));
        }
        assert_eq!(faults(&bomb), ["6:9: more than 250000 values, aliases written out"]);
        let mut ladder = String::from("a0: &a0 [x]\n");
        for level in 1..10_000 {
            ladder.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert_eq!(faults(&ladder), ["31:11: more than 32 levels, aliases written out"]);
        assert_eq!(faults("a: &a [*a]"), ["1:8: this alias stands inside the value that it names"]);
        assert_eq!(faults(&"[".repeat(100_000)).len(), 1);
        assert_eq!(faults(&"- ".repeat(100_000)).len(), 1);
    }

    #[test]
    fn every_duplicate_key_is_found() {
        let found = faults("a: 1\nb: 2\na: 3\nb: {c: 1}\nd: {e: 1, e: 2}\n");
        assert_eq!(
            found,
            [
                "3:1: duplicate key \"a\", first on line 1",
                "4:1: duplicate key \"b\", first on line 2",
                "5:11: duplicate key \"e\", first on line 5",
            ]
        );
    }

    #[test]
    fn odd_documents_are_refused() {
        assert_eq!(faults("a: 1\n---\nb: 2\n"), ["2:1: a second document begins here"]);
        assert_eq!(faults("a: *b"), ["1:4: there is no anchor \"b\""]);
        assert_eq!(faults("a: !!str 1"), ["1:10: the value has a type tag (`!…`)"]);
        assert_eq!(faults("? [a]\n: b"), ["1:3: a list or map cannot be a key"]);
        assert!(parse("").0.is_none() && parse("# only a comment\n").1.is_empty());
        assert_eq!(faults("a: [1, 2\nb: 3").len(), 1);
        assert!(faults(&format!("{}: 1", "k".repeat(300)))[0].ends_with("has more than 256 bytes"));
    }
}
