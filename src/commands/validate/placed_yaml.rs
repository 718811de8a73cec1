//! [`Node`], YAML in which everything has its place in the file.
//!
//! The typed readers of the mount path say what is wrong and not where, and of a scalar only the text
//! without its quotes. Here the events of the same parser are kept as they come: where a node begins,
//! and whether a scalar was quoted. A class has YAML inside YAML, twice; [`Text::inside`] finds the
//! place of what is inside a scalar, so that every node has its place in the file.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use crate::text::excerpt::one_line;

/// The most nodes of one text. A file with a thousand classes has some ten thousand.
const MAX_NODES: usize = 500_000;
/// How deep nodes may lie in each other, by way of aliases too.
const MAX_DEPTH: usize = 200;
/// The most characters of the parser's own words.
const MAX_PROBLEM_CHARS: usize = 200;

/// A place in the file: line and column, in characters, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// Where a text stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// So many lines below the file's first, and so many columns to the right.
    Shift { lines: usize, columns: usize },
    /// Its lines are not lines of the file (it was quoted or folded), so that all of it is here.
    Point(Position),
}

impl Origin {
    /// The text is the file.
    pub const FILE: Self = Self::Shift {
        lines: 0,
        columns: 0,
    };

    /// The place in the file of a place in the text.
    pub fn place(self, line: usize, column: usize) -> Position {
        match self {
            Self::Shift { lines, columns } => Position {
                line: line + lines,
                column: column + columns,
            },
            Self::Point(position) => position,
        }
    }
}

/// One thing in a YAML text.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub content: Content,
    /// Where it begins in the file.
    pub at: Position,
    /// How many characters it has on that line; at least 1.
    pub width: usize,
    /// The line in its own text, counted from 1.
    line: usize,
    /// How many nodes lie in each other in it.
    depth: usize,
}

/// What a node is.
#[derive(Debug)]
pub enum Content {
    Scalar(Scalar),
    Sequence(Vec<Rc<Node>>),
    /// A map, in the order of the text; what `<<` brings in comes last.
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

/// A scalar, as it was written.
#[derive(Debug)]
pub struct Scalar {
    pub text: String,
    /// Whether it was written without quotes and without a tag, so that its text decides its type.
    pub plain: bool,
    literal: bool,
}

impl Node {
    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// A scalar's text, if it stands for something.
    pub fn text(&self) -> Option<&str> {
        self.scalar()
            .filter(|_| !self.is_null())
            .map(|scalar| scalar.text.as_str())
    }

    /// A map's entries; none where it is no map.
    pub fn entries(&self) -> &[(Rc<Node>, Rc<Node>)] {
        match &self.content {
            Content::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// A list's elements; none where it is no list.
    pub fn elements(&self) -> &[Rc<Node>] {
        match &self.content {
            Content::Sequence(elements) => elements,
            _ => &[],
        }
    }

    /// The key of a map and its value.
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        self.entries()
            .iter()
            .find(|(name, _)| name.text() == Some(key))
            .map(|(name, value)| (&**name, &**value))
    }

    /// The value of a map's key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Whether it stands for nothing.
    pub fn is_null(&self) -> bool {
        self.scalar()
            .is_some_and(|scalar| scalar.plain && is_null(&scalar.text))
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A text and where it stands.
#[derive(Debug)]
pub struct Text<'a> {
    /// All of it.
    pub whole: &'a str,
    /// Where it stands.
    pub origin: Origin,
    lines: Vec<&'a str>,
}

/// The documents of a text, up to the place where it stops being YAML.
#[derive(Debug, Default)]
pub struct Documents {
    /// What could be read, in order.
    pub roots: Vec<Document>,
    /// Why the rest could not.
    pub problem: Option<Problem>,
}

#[derive(Debug)]
pub struct Document {
    /// What it is.
    pub root: Rc<Node>,
    /// Keys that their map has already.
    pub duplicates: Vec<Rc<Node>>,
}

/// Why a text is not YAML.
#[derive(Debug)]
pub struct Problem {
    pub at: Position,
    /// What the parser says, on one line.
    pub words: String,
}

impl<'a> Text<'a> {
    /// The text, which stands there.
    pub fn new(text: &'a str, origin: Origin) -> Self {
        Self {
            whole: text,
            origin,
            lines: text.lines().collect(),
        }
    }

    /// One of its lines, counted from 1.
    pub fn line(&self, number: usize) -> Option<&'a str> {
        self.lines.get(number.checked_sub(1)?).copied()
    }

    /// Reads all documents.
    pub fn documents(&self) -> Documents {
        let mut options = Options::default();
        options.emit_comments = false;
        let mut parser = Parser::new_from_str_with_options(self.whole, options);
        let mut builder = Builder {
            origin: self.origin,
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            duplicates: Vec::new(),
            documents: Documents::default(),
        };
        while let Some(event) = parser.next_event() {
            let problem = match event {
                Ok((event, span)) => match builder.take(event, span) {
                    Ok(()) => continue,
                    Err(words) => Problem {
                        at: place(self.origin, span),
                        words: words.to_owned(),
                    },
                },
                Err(error) => Problem {
                    at: self
                        .origin
                        .place(error.marker().line(), error.marker().col() + 1),
                    words: one_line(&error.info(), MAX_PROBLEM_CHARS),
                },
            };
            builder.documents.problem = Some(problem);
            break;
        }
        builder.documents
    }

    /// Where the text of a scalar of this text stands. Only a literal block keeps its lines; that they
    /// are the file's is checked by the first of them that has something on it.
    pub fn inside(&self, node: &Node) -> Origin {
        let point = Origin::Point(node.at);
        let (Origin::Shift { lines, columns }, Some(scalar)) = (self.origin, node.scalar()) else {
            return point;
        };
        if !scalar.literal {
            return point;
        }
        let first = scalar
            .text
            .lines()
            .enumerate()
            .find(|(_, line)| !line.trim().is_empty());
        let Some((index, inner)) = first else {
            return point;
        };
        // The parser's place of a block is that of its text, but for empty lines before it.
        for number in [node.line, node.line + index] {
            let outer = self.line(number);
            let indentation = outer
                .and_then(|outer| outer.strip_suffix(inner))
                .filter(|indentation| indentation.trim().is_empty());
            if let (Some(indentation), true) = (indentation, number > index) {
                return Origin::Shift {
                    lines: lines + number - (index + 1),
                    columns: columns + indentation.chars().count(),
                };
            }
        }
        point
    }
}

/// Where a span begins in the file. The parser counts columns from 0.
fn place(origin: Origin, span: Span) -> Position {
    origin.place(span.start.line(), span.start.col() + 1)
}

/// Makes documents of the parser's events.
struct Builder {
    origin: Origin,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
    duplicates: Vec<Rc<Node>>,
    documents: Documents,
}

/// A list or map that has not ended.
struct Open {
    children: Vec<Rc<Node>>,
    anchor: usize,
    span: Span,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), &'static str> {
        match event {
            Event::DocumentStart(..) => {
                self.open.clear();
                self.anchors.clear();
                self.duplicates.clear();
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain && tag.is_none(),
                    literal: style == ScalarStyle::Literal,
                };
                self.node(Content::Scalar(scalar), anchor, span)?;
            }
            Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _) => {
                self.open.push(Open {
                    children: Vec::new(),
                    anchor,
                    span,
                });
            }
            Event::SequenceEnd => {
                if let Some(open) = self.open.pop() {
                    self.node(Content::Sequence(open.children), open.anchor, open.span)?;
                }
            }
            Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let entries = self.mapping(open.children);
                    self.node(Content::Mapping(entries), open.anchor, open.span)?;
                }
            }
            Event::Alias(anchor) => {
                let node = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or("an alias of something that contains it")?;
                self.place_in_parent(node)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn node(&mut self, content: Content, anchor: usize, span: Span) -> Result<(), &'static str> {
        let children = match &content {
            Content::Scalar(_) => 0,
            Content::Sequence(elements) => deepest(elements.iter()),
            Content::Mapping(entries) => deepest(entries.iter().flat_map(|(k, v)| [k, v])),
        };
        let on_one_line = span.start.line() == span.end.line();
        let node = Rc::new(Node {
            content,
            at: place(self.origin, span),
            width: match self.origin {
                Origin::Shift { .. } if on_one_line => {
                    span.end.col().saturating_sub(span.start.col()).max(1)
                }
                _ => 1,
            },
            line: span.start.line(),
            depth: children + 1,
        });
        if node.depth > MAX_DEPTH {
            return Err("nodes that lie too deep in each other");
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.place_in_parent(node)
    }

    fn place_in_parent(&mut self, node: Rc<Node>) -> Result<(), &'static str> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err("too many nodes");
        }
        if let Some(parent) = self.open.last_mut() {
            parent.children.push(node);
        } else {
            self.documents.roots.push(Document {
                root: node,
                duplicates: std::mem::take(&mut self.duplicates),
            });
        }
        Ok(())
    }

    /// Keys and values in turn become entries, and those of the maps under `<<` come in.
    fn mapping(&mut self, children: Vec<Rc<Node>>) -> Vec<(Rc<Node>, Rc<Node>)> {
        let mut entries = Vec::with_capacity(children.len() / 2);
        let mut merged = Vec::new();
        let mut known = HashSet::new();
        let mut children = children.into_iter();
        while let (Some(key), Some(value)) = (children.next(), children.next()) {
            let plain = key.scalar().is_some_and(|key| key.plain);
            if plain && key.text() == Some("<<") {
                merged.push(value);
                continue;
            }
            if let Some(text) = key.text()
                && !known.insert(text.to_owned())
            {
                self.duplicates.push(key.clone());
                continue;
            }
            entries.push((key, value));
        }
        for value in merged {
            let maps = match &value.content {
                Content::Sequence(maps) => maps.clone(),
                _ => vec![value],
            };
            for (key, value) in maps.iter().flat_map(|map| map.entries()) {
                self.nodes += 1;
                if self.nodes > MAX_NODES {
                    return entries;
                }
                if key.text().is_some_and(|text| known.insert(text.to_owned())) {
                    entries.push((key.clone(), value.clone()));
                }
            }
        }
        entries
    }
}

fn deepest<'a>(nodes: impl Iterator<Item = &'a Rc<Node>>) -> usize {
    nodes.map(|node| node.depth).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Rc<Node>, Text<'_>) {
        let text = Text::new(text, Origin::FILE);
        let documents = text.documents();
        assert!(documents.problem.is_none(), "{:?}", documents.problem);
        (documents.roots[0].root.clone(), text)
    }

    #[test]
    fn a_node_has_its_place_and_width() {
        let (root, _) = read("# é\na:\n  - b: 'xy'\n    ключ: z\n");
        let entry = &root.get("a").unwrap().elements()[0];
        let place = |key| {
            let node = entry.get(key).unwrap();
            (node.at.line, node.at.column, node.width)
        };
        assert_eq!(place("b"), (3, 8, 4));
        assert_eq!(place("ключ"), (4, 11, 1));
        assert_eq!(entry.at, Position { line: 3, column: 5 });
    }

    /// The place of the word `x`, in however many blocks it stands.
    fn inner(text: &str) -> Vec<(usize, usize)> {
        let (root, outer) = read(text);
        let block = root.get("objects").unwrap();
        let inside = Text::new(block.text().unwrap(), outer.inside(block));
        let documents = inside.documents();
        let list = documents.roots[0].root.get("array").unwrap();
        list.elements()
            .iter()
            .map(|entry| {
                let found = if let Some(text) = entry.text() {
                    let origin = inside.inside(entry);
                    let documents = Text::new(text, origin).documents();
                    documents.roots[0].root.get("name").unwrap().at
                } else {
                    entry.get("name").unwrap().at
                };
                (found.line, found.column)
            })
            .collect()
    }

    #[test]
    fn what_is_in_a_literal_block_has_its_place_in_the_file() {
        for (text, places) in [
            (
                "objects: |\n  array:\n    - |\n      kind: k\n      name: x\n    - name: x\n",
                vec![(5, 13), (6, 13)],
            ),
            (
                "objects: |  # why\n\n\n  # a comment\n  array:\n    - |-\n\n      name: x\n",
                vec![(8, 13)],
            ),
            (
                "objects: |2\n    array:\n      - |1\n          name: x\n",
                vec![(4, 17)],
            ),
            (
                "objects: |\r\n  array:\r\n  - |\r\n    name: x\r\n",
                vec![(4, 11)],
            ),
            // Otherwise the place is the scalar's.
            ("objects: \"array: [name: x]\"", vec![(1, 10)]),
            ("objects: >\n\n  array: [name: x]\n", vec![(3, 3)]),
            ("objects: |\n  array:\n    - \"name: x\"\n", vec![(3, 7)]),
            (
                "{\"objects\": \"array:\\n  - |\\n    name: x\\n\"}",
                vec![(1, 13)],
            ),
        ] {
            assert_eq!(inner(text), places, "{text}");
        }
    }

    #[test]
    fn merges_and_aliases_are_resolved_and_duplicates_noted() {
        let (root, _) = read("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\n");
        let b = root.get("b").unwrap();
        assert_eq!(b.get("x").unwrap().text(), Some("1"));
        assert_eq!(b.get("y").unwrap().text(), Some("3"));
        assert_eq!(root.get("c").unwrap().get("y").unwrap().text(), Some("2"));
        let text = Text::new("a: 1\nb: {c: 1, c: 2}\n", Origin::FILE);
        let duplicates = &text.documents().roots[0].duplicates;
        assert_eq!(
            duplicates[0].at,
            Position {
                line: 2,
                column: 11
            }
        );
    }

    #[test]
    fn documents_before_a_problem_are_kept() {
        let text = Text::new("a: 1\n---\nb: 2\n---\nc: [\n", Origin::FILE);
        let documents = text.documents();
        assert_eq!(documents.roots.len(), 2);
        assert!(documents.problem.unwrap().at.line >= 5);
    }

    #[test]
    fn hostile_text_costs_little() {
        use std::fmt::Write as _;
        let mut chain = "a0: &a0 [x]\n".to_owned();
        let mut bomb = "b0: &b0 {x: x}\n".to_owned();
        for level in 1..50_000 {
            writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
            writeln!(
                bomb,
                "b{level}: &b{level} {{b{level}: 1, <<: *b{}}}",
                level - 1
            )
            .unwrap();
        }
        for text in [
            "[".repeat(100_000),
            format!("a: [{}]", "x,".repeat(600_000)),
            "- ".repeat(100_000),
            chain,
            bomb,
            "a: &a [*a]".to_owned(),
        ] {
            let text = Text::new(&text, Origin::FILE);
            assert!(text.documents().problem.is_some());
        }
    }
}
