//! [`Tree`], the modules of a crate and the arrows between them: which file uses which.
//!
//! A file is read as Rust's tokens, so comments and literals say nothing, and what only tests see is left out. A
//! path is followed to the file that defines the thing: by way of imports, and of what a module hands on with
//! `pub use`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// The segments of a path or of a module's name.
pub type Segments = Vec<String>;

/// From a module to one that it uses.
pub type Arrow = (Segments, Segments);

/// A crate's modules by their paths; the crate itself has the empty one.
#[derive(Debug, Default)]
pub struct Tree {
    modules: BTreeMap<Segments, Module>,
    arrows: BTreeSet<Arrow>,
}

/// What one file says.
#[derive(Debug, Default)]
struct Module {
    /// The paths that stand in it, with the segments of the inline modules around them.
    paths: Vec<(Segments, Segments)>,
    /// What it imports under which name.
    imports: HashMap<String, (Segments, Segments)>,
    /// What others may import from it.
    exports: BTreeSet<String>,
    /// How often each word stands in it.
    words: HashMap<String, usize>,
    /// Its children that only tests have.
    only_for_tests: BTreeSet<String>,
}

impl Tree {
    /// The modules below a crate's folder of sources.
    pub fn read(sources: &Path) -> Self {
        let mut files = Vec::new();
        collect(sources, &mut Vec::new(), &mut files);
        Self::new(
            files
                .iter()
                .map(|(name, text)| (name.clone(), text.as_str())),
        )
    }

    /// These files, each by its module's path.
    pub fn new<'a>(files: impl IntoIterator<Item = (Segments, &'a str)>) -> Self {
        let mut modules = BTreeMap::new();
        for (name, text) in files {
            let tokens: TokenStream = text
                .parse()
                .unwrap_or_else(|error| panic!("{}: {error}", name.join("::")));
            let mut module = Module::default();
            module.walk(tokens, &[]);
            modules.insert(name, module);
        }
        let only_for_tests: Vec<Segments> = modules
            .iter()
            .flat_map(|(name, module)| {
                let children = module.only_for_tests.iter();
                children.map(|child| [name.as_slice(), std::slice::from_ref(child)].concat())
            })
            .collect();
        modules.retain(|name, _| !only_for_tests.iter().any(|test| name.starts_with(test)));
        let mut tree = Self {
            modules,
            arrows: BTreeSet::new(),
        };
        tree.arrows = tree.follow_all();
        tree
    }

    /// The modules' paths.
    pub fn modules(&self) -> impl Iterator<Item = &Segments> {
        self.modules.keys()
    }

    /// The modules right below the crate.
    pub fn rooms(&self) -> BTreeSet<String> {
        self.modules()
            .filter_map(|module| module.first().cloned())
            .collect()
    }

    /// Which module right below this one uses which other one there, each with all that is inside it.
    pub fn between_children(&self, folder: &[String]) -> BTreeSet<Arrow> {
        let child = |module: &Segments| {
            let is_below = module.len() > folder.len() && module.starts_with(folder);
            is_below.then(|| module[..=folder.len()].to_vec())
        };
        self.arrows
            .iter()
            .filter_map(|(from, to)| Some((child(from)?, child(to)?)))
            .filter(|(from, to)| from != to)
            .collect()
    }

    /// Which module uses which.
    pub fn arrows(&self) -> &BTreeSet<Arrow> {
        &self.arrows
    }

    fn follow_all(&self) -> BTreeSet<Arrow> {
        let mut arrows = BTreeSet::new();
        for (name, module) in &self.modules {
            for target in module.uses(|inline, path| self.follow(name, inline, path, 0)) {
                if let Target::Module(target) = target
                    && target != *name
                    && !target.is_empty()
                {
                    arrows.insert((name.clone(), target));
                }
            }
        }
        arrows
    }

    /// The paths that lead out of the crate, in full, by module.
    pub fn foreign(&self) -> BTreeSet<(Segments, Segments)> {
        let mut foreign = BTreeSet::new();
        for (name, module) in &self.modules {
            for (inline, path) in &module.paths {
                if let Target::Foreign(path) = self.follow(name, inline, path, 0) {
                    foreign.insert((name.clone(), path));
                }
            }
        }
        foreign
    }

    /// Whether a word stands in a module.
    pub fn says(&self, module: &[String], word: &str) -> bool {
        self.modules[module].words.contains_key(word)
    }

    /// Where a path leads that stands in this module.
    fn follow(&self, from: &[String], inline: &[String], path: &[String], depth: usize) -> Target {
        let here = [from, inline].concat();
        let mut rest = path;
        let mut base: Segments = match rest[0].as_str() {
            "crate" => Vec::new(),
            "self" => here,
            "super" => {
                let mut base = here;
                while rest.first().is_some_and(|s| s == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
                return self.descend(base, rest, depth);
            }
            first => {
                let child = [from, &[first.to_owned()]].concat();
                if self.modules.contains_key(&child) {
                    return self.descend(from.to_vec(), rest, depth);
                }
                let import = self.modules[from].imports.get(first);
                if let Some((inline, import)) = import
                    && import[0] != first
                    && depth < 8
                {
                    let whole = [import.as_slice(), &rest[1..]].concat();
                    return self.follow(from, inline, &whole, depth + 1);
                }
                return Target::Foreign(match import {
                    Some((_, import)) => [import.as_slice(), &rest[1..]].concat(),
                    None => path.to_vec(),
                });
            }
        };
        rest = &rest[1..];
        if rest.is_empty() {
            base.truncate(from.len());
            return Target::Module(base);
        }
        self.descend(base, rest, depth)
    }

    /// Goes down from a module as far as there are modules, and on to where the next name comes from.
    fn descend(&self, mut base: Segments, mut rest: &[String], depth: usize) -> Target {
        while let Some(next) = rest.first() {
            base.push(next.clone());
            if !self.modules.contains_key(&base) {
                base.pop();
                break;
            }
            rest = &rest[1..];
        }
        while !self.modules.contains_key(&base) && !base.is_empty() {
            base.pop();
        }
        let (Some(module), Some(name)) = (self.modules.get(&base), rest.first()) else {
            return Target::Module(base);
        };
        match module.imports.get(name) {
            Some((inline, import)) if module.exports.contains(name) && depth < 8 => {
                let whole = [import.as_slice(), &rest[1..]].concat();
                self.follow(&base, inline, &whole, depth + 1)
            }
            _ => Target::Module(base),
        }
    }
}

/// Where a path leads.
enum Target {
    Module(Segments),
    Foreign(Segments),
}

impl Module {
    /// Where its paths lead. What it only hands on is no use of it.
    fn uses(&self, follow: impl Fn(&[String], &[String]) -> Target) -> Vec<Target> {
        self.paths
            .iter()
            .filter(|(_, path)| {
                let name = path.last().expect("a path has a segment");
                !(self.exports.contains(name)
                    && self.imports[name].1 == *path
                    && self.words[name] == 1)
            })
            .map(|(inline, path)| follow(inline, path))
            .collect()
    }

    fn walk(&mut self, tokens: TokenStream, inline: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.walk(group.stream(), inline),
                TokenTree::Punct(hash)
                    if hash.as_char() == '#' && is_cfg_test(tokens.get(at + 1)) =>
                {
                    at = self.skip_item(&tokens, at + 2);
                    continue;
                }
                TokenTree::Ident(word) if word == "use" => {
                    let exported = at > 0 && is_visibility(&tokens[at - 1]);
                    let end = (at..tokens.len())
                        .find(|&i| matches!(&tokens[i], TokenTree::Punct(p) if p.as_char() == ';'))
                        .unwrap_or(tokens.len());
                    self.use_tree(&tokens[at + 1..end], &[], inline, exported);
                    at = end;
                }
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        let inside = [inline, &[name.to_string()]].concat();
                        self.walk(body.stream(), &inside);
                        at += 2;
                    }
                }
                TokenTree::Ident(word) => {
                    let goes_on = goes_on(&tokens[..at]);
                    self.count(word);
                    let mut path = vec![word.to_string()];
                    while let Some(next) = segment_after(&tokens, at) {
                        self.count(next);
                        path.push(next.to_string());
                        at += 3;
                    }
                    if path.len() > 1 && !goes_on {
                        self.paths.push((inline.to_vec(), path));
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn count(&mut self, word: &Ident) {
        *self.words.entry(word.to_string()).or_default() += 1;
    }

    /// Goes past what stands behind `#[cfg(test)]`, and notes the name of a module there.
    fn skip_item(&mut self, tokens: &[TokenTree], mut at: usize) -> usize {
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Punct(p) if p.as_char() == ';' => return at + 1,
                TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => return at + 1,
                TokenTree::Ident(word) if word == "mod" => {
                    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1) {
                        self.only_for_tests.insert(name.to_string());
                    }
                }
                _ => {}
            }
            at += 1;
        }
        at
    }

    /// Takes a `use` apart, `before` being what stands before its braces.
    fn use_tree(
        &mut self,
        tokens: &[TokenTree],
        before: &[String],
        inline: &[String],
        exported: bool,
    ) {
        let mut path = before.to_vec();
        let mut alias = None;
        let mut is_open = true;
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if word == "as" => {
                    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1) {
                        alias = Some(name.to_string());
                    }
                    break;
                }
                TokenTree::Ident(word) => {
                    path.push(word.to_string());
                }
                TokenTree::Group(group) => {
                    for branch in branches(group) {
                        self.use_tree(&branch, &path, inline, exported);
                    }
                    is_open = false;
                }
                _ => {}
            }
        }
        if !is_open || path.is_empty() {
            return;
        }
        if path.len() > 1 && path.last().is_some_and(|s| s == "self") {
            path.pop();
        }
        let name = alias.unwrap_or_else(|| path[path.len() - 1].clone());
        if exported {
            self.exports.insert(name.clone());
        }
        *self.words.entry(name.clone()).or_default() += 1;
        self.imports.insert(name, (inline.to_vec(), path.clone()));
        self.paths.push((inline.to_vec(), path));
    }
}

/// The parts between a group's commas.
fn branches(group: &Group) -> Vec<Vec<TokenTree>> {
    let mut branches = vec![Vec::new()];
    for token in group.stream() {
        match token {
            TokenTree::Punct(p) if p.as_char() == ',' => branches.push(Vec::new()),
            token => branches.last_mut().expect("one at least").push(token),
        }
    }
    branches
}

/// The next segment of a path, three tokens on.
fn segment_after(tokens: &[TokenTree], at: usize) -> Option<&Ident> {
    let colon = |i: usize| matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    match tokens.get(at + 3) {
        Some(TokenTree::Ident(next)) if colon(at + 1) && colon(at + 2) => Some(next),
        _ => None,
    }
}

/// Whether what follows these tokens goes on with what they end in, such as `<T>::`.
fn goes_on(tokens: &[TokenTree]) -> bool {
    let is = |token: &TokenTree, c| matches!(token, TokenTree::Punct(p) if p.as_char() == c);
    match tokens {
        [.., before, one, two] if is(one, ':') && is(two, ':') => {
            is(before, '>') || matches!(before, TokenTree::Ident(_))
        }
        _ => false,
    }
}

fn is_cfg_test(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(g)) if g.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Whether a token ends a visibility: `pub`, or `(crate)`.
fn is_visibility(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => word == "pub",
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        _ => false,
    }
}

/// The files of a folder, by their modules' paths.
fn collect(folder: &Path, name: &mut Segments, files: &mut Vec<(Segments, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder's entry").path();
        let stem = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            name.push(stem);
            collect(&path, name, files);
            name.pop();
        } else if path.extension().is_some_and(|e| e == "rs") && stem != "main" {
            let mut name = name.clone();
            if stem != "lib" && stem != "mod" {
                name.push(stem);
            }
            files.push((name, fs::read_to_string(&path).expect("UTF-8")));
        }
    }
}
