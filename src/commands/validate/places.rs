//! [`Places`], where in the manifest the parameters of a class and the entries of its `objects` are.

use std::rc::Rc;

use crate::class::identity::IdentityError;
use crate::class::object::yaml::YamlError;
use crate::class::parameters::{ParameterError, Warning, tenant};
use crate::class::plan::PlanError;
use crate::class::property::fields::{OBJECT_ALIAS, OBJECT_NAME};
use crate::class::property::parameters::{
    CLIENT_ID, CLOUD_NAME, OBJECTS, TENANT_ID, USE_AZURE_TOKEN_PROXY, USE_POD_IDENTITY,
    USE_VM_MANAGED_IDENTITY,
};
use crate::commands::validate::finding::Place;
use crate::commands::validate::placed_yaml::{Node, Text};

/// The places of one class.
pub struct Places<'a> {
    parameters: Option<&'a Node>,
    /// Where to point when there is nothing better: the word `parameters`, if it is there.
    class: Place,
    /// The text of `objects` and where it stands.
    objects: Option<Text<'a>>,
    /// The entries in it, without the empty ones, which the provider does not count either.
    entries: Vec<Rc<Node>>,
}

/// What a problem is about: its name for machines, and its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Subject {
    /// Such as `keyvaultName` or `objects[1].objectType`.
    pub field: String,
    /// Where it is.
    pub place: Place,
}

impl<'a> Places<'a> {
    /// The places of the class whose `parameters` these are. All of it stands in `file`, and `class` is
    /// where to point when there is nothing better.
    pub fn new(file: &Text<'a>, class: Place, parameters: Option<&'a Node>) -> Self {
        let node = parameters.and_then(|parameters| parameters.get(OBJECTS.name));
        let objects = node.and_then(|node| Some(Text::new(node.text()?, file.inside(node))));
        Self {
            parameters,
            class,
            entries: objects.as_ref().map(entries).unwrap_or_default(),
            objects,
        }
    }

    /// A parameter: its value, or its name where the value begins on another line; where the class does
    /// not have it, the parameters.
    pub fn parameter(&self, name: &str) -> Subject {
        let entry = self
            .parameters
            .and_then(|parameters| parameters.entry(name));
        Subject {
            field: name.to_owned(),
            place: match entry {
                Some((name, value)) if name.at.line != value.at.line => Place::of(name),
                Some((_, value)) => Place::of(value),
                None => self.class,
            },
        }
    }

    pub fn parameter_name(&self, name: &str) -> Subject {
        let entry = self
            .parameters
            .and_then(|parameters| parameters.entry(name));
        Subject {
            field: name.to_owned(),
            place: entry.map_or(self.class, |(name, _)| Place::of(name)),
        }
    }

    /// An entry of `objects`.
    pub fn entry(&self, index: usize) -> Subject {
        let place = self.entries.get(index).map(|entry| Place::of(entry));
        Subject {
            field: format!("objects[{index}]"),
            place: place.unwrap_or_else(|| self.parameter(OBJECTS.name).place),
        }
    }

    /// A field of an entry; where the entry does not have it, the entry.
    pub fn field(&self, index: usize, field: &str) -> Subject {
        self.in_entry(index, field, |_, value| Place::of(value))
    }

    /// The name of a field of an entry.
    fn field_name(&self, index: usize, field: &str) -> Subject {
        self.in_entry(index, field, |name, _| Place::of(name))
    }

    /// Where the provider finds a problem.
    pub fn of_parameter(&self, error: &ParameterError) -> Subject {
        match error {
            ParameterError::Value { parameter, .. } | ParameterError::TooLong { parameter, .. }
                if parameter.name == TENANT_ID.name =>
            {
                self.parameter(self.tenant())
            }
            ParameterError::Value { parameter, .. } | ParameterError::TooLong { parameter, .. } => {
                self.parameter(parameter.name)
            }
            ParameterError::Cloud(_) => self.parameter(CLOUD_NAME.name),
            ParameterError::Identity(error) => self.of_identity(error),
            ParameterError::Yaml(error) => self.of_yaml(error),
            ParameterError::Object { index, error, .. } => self.field(*index, error.field()),
        }
    }

    /// Where two entries meet: at the one that can be changed, by its path.
    pub fn of_plan(&self, error: &PlanError) -> Subject {
        let (PlanError::SamePath { second: index, .. }
        | PlanError::FileAndFolder { file: index, .. }) = error;
        let alias = self.field(*index, OBJECT_ALIAS.name);
        if alias.place == self.entry(*index).place {
            self.field(*index, OBJECT_NAME.name)
        } else {
            alias
        }
    }

    /// Where something is that does nothing.
    pub fn of_warning(&self, warning: &Warning) -> Subject {
        match warning {
            Warning::UnknownParameter { name, .. } => self.parameter_name(name),
            Warning::UnknownField { index, name, .. } => self.field_name(*index, name),
        }
    }

    /// The spelling of the tenant that counts.
    fn tenant(&self) -> &'static str {
        let (spelling, _) = tenant(|parameter| {
            let value = self.parameters.and_then(|all| all.get(parameter.name));
            value.and_then(Node::text).unwrap_or_default().trim()
        });
        spelling.name
    }

    fn of_identity(&self, error: &IdentityError) -> Subject {
        match error {
            IdentityError::PodIdentityIsRetired | IdentityError::MoreThanOne(_) => {
                let switches = [
                    USE_POD_IDENTITY.name,
                    USE_VM_MANAGED_IDENTITY.name,
                    USE_AZURE_TOKEN_PROXY.name,
                ];
                let has = |name: &&str| self.parameters.is_some_and(|all| all.get(name).is_some());
                self.parameter(switches.into_iter().find(has).unwrap_or(switches[0]))
            }
            IdentityError::BindingNeedsClientId => self.parameter(USE_AZURE_TOKEN_PROXY.name),
            IdentityError::Tokens(_) => self.parameter(CLIENT_ID.name),
            IdentityError::Malformed { field, .. } => self.parameter(field),
            IdentityError::ServicePrincipal { .. }
            | IdentityError::TooLong { .. }
            | IdentityError::None => Subject {
                field: "parameters".to_owned(),
                place: self.class,
            },
        }
    }

    fn of_yaml(&self, error: &YamlError) -> Subject {
        match error {
            YamlError::Unreadable(problem) => {
                let subject = self.parameter(OBJECTS.name);
                match (&self.objects, problem.at) {
                    (Some(objects), Some(at)) => Subject {
                        place: within(objects, at),
                        ..subject
                    },
                    _ => subject,
                }
            }
            YamlError::TooMuch { index: Some(index) } | YamlError::Unseen { first: index, .. } => {
                self.entry(*index)
            }
            YamlError::TooLong(_)
            | YamlError::TooMany(_)
            | YamlError::NoList(_)
            | YamlError::TooMuch { index: None }
            | YamlError::Stopped => self.parameter(OBJECTS.name),
            YamlError::Entry { index, problem } => {
                let subject = self.entry(*index);
                match (self.entry_text(*index), problem.at) {
                    (Some(entry), Some(at)) => Subject {
                        place: within(&entry, at),
                        ..subject
                    },
                    _ => subject,
                }
            }
        }
    }

    /// The text of an entry that is written as one.
    fn entry_text(&self, index: usize) -> Option<Text<'_>> {
        let entry = self.entries.get(index)?;
        let origin = self.objects.as_ref()?.inside(entry);
        Some(Text::new(entry.text()?, origin))
    }

    fn in_entry(
        &self,
        index: usize,
        field: &str,
        place: impl Fn(&Node, &Node) -> Place,
    ) -> Subject {
        let found = |map: &Node| map.entry(field).map(|(name, value)| place(name, value));
        let found = match self.entry_text(index) {
            Some(text) => {
                let documents = text.documents();
                documents.roots.first().and_then(|map| found(&map.root))
            }
            None => self.entries.get(index).and_then(|map| found(map)),
        };
        Subject {
            field: format!("objects[{index}].{field}"),
            place: found.unwrap_or_else(|| self.entry(index).place),
        }
    }
}

/// The entries of `objects`, of the first document, as [`crate::class::object::yaml`] counts them.
fn entries(objects: &Text<'_>) -> Vec<Rc<Node>> {
    let documents = objects.documents();
    let Some(document) = documents.roots.first() else {
        return Vec::new();
    };
    let list = document.root.get("array").unwrap_or(&document.root);
    list.elements()
        .iter()
        .filter(|entry| !entry.is_null())
        .cloned()
        .collect()
}

/// A place in a text that the provider has read without the whitespace around it.
fn within(text: &Text<'_>, (line, column): (usize, usize)) -> Place {
    let skipped = text.whole.len() - text.whole.trim_start().len();
    let (skipped, _) = text.whole.split_at(skipped);
    let (lines, last) = (
        skipped.matches('\n').count(),
        skipped.rsplit('\n').next().unwrap_or_default(),
    );
    let column = match line {
        1 => column + last.chars().count(),
        _ => column,
    };
    Place {
        at: text.origin.place(line + lines, column),
        width: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::validate::placed_yaml::Origin;
    use crate::shares::Stop;

    const CLASS: &str = "\
parameters:
  tenantId: t
  usePodIdentity: \"true\"
  objects: |

    array:
      -
      - |
        objectName: a
        objectTipe: secret
      - objectName: b
        objectAlias: a
      - \"objectName: c\"
      - |
        objectName: [
";

    fn with_places(look: impl Fn(&Places<'_>)) {
        let file = Text::new(CLASS, Origin::FILE);
        let start = Place {
            at: Origin::FILE.place(1, 1),
            width: 1,
        };
        let documents = file.documents();
        let parameters = documents.roots[0].root.get("parameters");
        look(&Places::new(&file, start, parameters));
    }

    #[test]
    fn everything_has_its_place() {
        with_places(|places| {
            for (subject, field, line, column) in [
                (places.parameter("tenantId"), "tenantId", 2, 13),
                (places.parameter("keyvaultName"), "keyvaultName", 1, 1),
                (places.parameter("objects"), "objects", 4, 3),
                (places.parameter_name("tenantId"), "tenantId", 2, 3),
                (places.entry(0), "objects[0]", 9, 9),
                (
                    places.field(0, "objectName"),
                    "objects[0].objectName",
                    9,
                    21,
                ),
                (places.field(0, "objectType"), "objects[0].objectType", 9, 9),
                (
                    places.field_name(0, "objectTipe"),
                    "objects[0].objectTipe",
                    10,
                    9,
                ),
                (
                    places.field(1, "objectAlias"),
                    "objects[1].objectAlias",
                    12,
                    22,
                ),
                (
                    places.field(2, "objectName"),
                    "objects[2].objectName",
                    13,
                    9,
                ),
                (places.entry(9), "objects[9]", 4, 3),
            ] {
                assert_eq!(
                    (subject.place.at.line, subject.place.at.column),
                    (line, column),
                    "{field}"
                );
                assert_eq!(subject.field, field);
            }
        });
    }

    #[test]
    fn problems_have_their_place() {
        with_places(|places| {
            let line = |subject: Subject| (subject.place.at.line, subject.field);
            let retired = ParameterError::Identity(IdentityError::PodIdentityIsRetired);
            assert_eq!(
                line(places.of_parameter(&retired)),
                (3, "usePodIdentity".into())
            );
            let tenant = ParameterError::Value {
                parameter: &TENANT_ID,
                found: String::new(),
            };
            assert_eq!(line(places.of_parameter(&tenant)), (2, "tenantId".into()));
            let conflict = PlanError::SamePath {
                first: 0,
                second: 1,
                path: "a".into(),
            };
            assert_eq!(
                line(places.of_plan(&conflict)),
                (12, "objects[1].objectAlias".into())
            );
            let text = CLASS.split_once("|\n").unwrap().1;
            let entries =
                crate::class::object::yaml::entries(text.trim(), &Stop::default()).unwrap();
            let problem = ParameterError::Yaml(entries.into_iter().nth(3).unwrap().unwrap_err());
            let (line, field) = line(places.of_parameter(&problem));
            assert_eq!((line > 14, field), (true, "objects[3]".into()));
        });
    }
}
