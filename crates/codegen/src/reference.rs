//! The reference pages of the documentation, `docs/reference/`: the flags as clap has them, and the parameters as the
//! provider's tables of [properties](provider_azure_rs::property) have them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::iter;

use clap::{Arg, Command, CommandFactory as _};
use provider_azure_rs::property::fields::FIELDS;
use provider_azure_rs::property::parameters::PARAMETERS;
use provider_azure_rs::property::{Owner, Property, Shape, secret_objects};
use provider_azure_rs::settings::Settings;

/// The pages, by their paths in `docs/`.
pub fn pages() -> Result<[(&'static str, String); 2], Box<dyn Error>> {
    Ok([
        ("reference/flags.md", flags()?),
        ("reference/parameters.md", parameters()),
    ])
}

const ABOUT_FLAGS: &str = "\
# Flags

Every flag of every command, with its environment variable. Made from the code by `make generate`. The Helm chart has a
[value](../../charts/csi-secrets-store-provider-azure-rs/README.md#values) for most of them, and `extraArgs` and
`extraEnv` for the others.

A flag goes before its variable; a variable that is empty counts as one that is not set. Durations are written as `90s`,
`2m` or `1m30s`. A switch is on by `--flag` or `--flag=true` and off by `--flag=false`. The Go provider's command line
works too, with one hyphen or two ([what it means here](../migration.md#flags)). Flags of the cargo feature `otlp` are
on [a page of their own](../traces.md).
";

/// The flags of all commands. Those of `serve` come first, and other commands name the ones that they share with it.
fn flags() -> Result<String, Box<dyn Error>> {
    let command = Settings::command();
    let serve = command
        .find_subcommand("serve")
        .ok_or("there is no command serve")?;
    let mut page = ABOUT_FLAGS.to_owned();
    for command in command.get_subcommands() {
        let name = command.get_name();
        write!(page, "\n## {name}\n\n{}.", about(command)?)?;
        if name == "serve" {
            page += " It is also what the program does without a command.";
        }
        page.push('\n');
        let (shared, own): (Vec<_>, Vec<_>) = visible(command)
            .partition(|arg| name != "serve" && visible(serve).any(|of_serve| same(arg, of_serve)));
        // Other commands have few of their own.
        if name == "serve" {
            page += &table(
                own.iter()
                    .copied()
                    .filter(|arg| arg.get_help_heading().is_none()),
            )?;
            let headings: BTreeSet<_> = own
                .iter()
                .filter_map(|arg| arg.get_help_heading())
                .collect();
            for heading in headings {
                write!(page, "\n### {heading}\n")?;
                let rows = own
                    .iter()
                    .filter(|arg| arg.get_help_heading() == Some(heading));
                page += &table(rows.copied())?;
            }
        } else if !own.is_empty() {
            page += &table(own.into_iter())?;
        }
        if !shared.is_empty() {
            let names: Vec<_> = shared
                .iter()
                .map(|arg| format!("`{}`", spelled(arg)))
                .collect();
            write!(page, "\nAnd as in [serve](#serve): {}.\n", names.join(", "))?;
        }
        if let Some(text) = command.get_after_help() {
            write!(page, "\n{text}\n")?;
        }
    }
    Ok(page)
}

fn visible(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

fn same(arg: &Arg, other: &Arg) -> bool {
    arg.get_id() == other.get_id()
        && arg.get_default_values() == other.get_default_values()
        && arg.get_help().map(ToString::to_string) == other.get_help().map(ToString::to_string)
}

fn about(command: &Command) -> Result<String, Box<dyn Error>> {
    let about = command.get_about().ok_or("a command says nothing")?;
    Ok(about.to_string())
}

fn table<'a>(args: impl Iterator<Item = &'a Arg>) -> Result<String, Box<dyn Error>> {
    let mut table = "\n| flag | variable | default | |\n|---|---|---|---|\n".to_owned();
    for arg in args {
        let variable = arg
            .get_env()
            .map(|name| format!("`{}`", name.to_string_lossy()))
            .unwrap_or_default();
        let defaults: Vec<_> = arg
            .get_default_values()
            .iter()
            .filter(|value| !value.is_empty())
            .map(|value| format!("`{}`", value.to_string_lossy()))
            .collect();
        let mut help = arg
            .get_help()
            .ok_or_else(|| format!("{} says nothing", arg.get_id()))?
            .to_string();
        if arg.get_action().takes_values() {
            for value in arg.get_possible_values() {
                let what = value
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                write!(help, ". `{}`: {what}", value.get_name())?;
            }
        }
        let flag = spelled(arg);
        let default = defaults.join(", ");
        let row =
            [format!("`{flag}`"), variable, default, help].map(|cell| cell.replace('|', "\\|"));
        writeln!(table, "| {} |", row.join(" | "))?;
    }
    Ok(table)
}

/// The flag with its value, as one types it.
fn spelled(arg: &Arg) -> String {
    let values: Vec<_> = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    let value = values.join(" ");
    match (arg.get_long(), arg.get_action().takes_values()) {
        (None, _) => value,
        (Some(long), false) => format!("--{long}"),
        (Some(long), true) if arg.is_require_equals_set() => format!("--{long}[={value}]"),
        (Some(long), true) => format!("--{long} {value}"),
    }
}

const ABOUT_PARAMETERS: &str = "\
# Parameters of a class

Everything that a SecretProviderClass can say to this provider. Made from the code by `make generate`, as is the
[JSON Schema](../secretproviderclass.schema.json) by which editors complete
([how](../validate.md#in-an-editor)). The names are the Go provider's, so its classes work as they are; what is ours is
marked so. `provider-azure-rs validate CLASS.yaml` checks a class by all of this.

All parameters are texts for Kubernetes: write `\"true\"`, not `true`. Spaces around a value do not count. A pod's
`volumeAttributes` override the class's parameters.
";

const ABOUT_IDENTITY: &str = "
Which identity a class means, where it names several: `useVMManagedIdentity` or `useAzureTokenProxy`, then `clientID`,
then the service principal of the pod's `nodePublishSecretRef`, then `userAssignedIdentityID` alone. A class for each
of them is in the [quick start](../quick-start.md).
";

const ABOUT_OBJECTS: &str = "
## Entries of objects

`objects` is a text with YAML in it. Its entries may be texts (`- |`), as the Go provider wants them, or maps:

```yaml,fragment
objects: |
  array:
    - |
      objectName: OPENAI-API-KEY
      objectType: secret
    - objectName: chat-tls
      objectType: secret
      objectAlias: tls/chat.pem
```
";

const ABOUT_SECRET_OBJECTS: &str = "
## secretObjects

The driver's own part of a class, `spec.secretObjects`: Kubernetes Secrets that it makes of the files. They are there
while a pod with the volume is, and not before.
";

/// The parameters of a class, by the tables that its schema is made of.
fn parameters() -> String {
    [
        ABOUT_PARAMETERS,
        "\n## spec.parameters\n",
        &rows(PARAMETERS).replace(
            "An entry is described by $defs/object.",
            "What an entry has is [below](#entries-of-objects).",
        ),
        ABOUT_IDENTITY,
        ABOUT_OBJECTS,
        &rows(FIELDS),
        ABOUT_SECRET_OBJECTS,
        &rows(secret_objects::FIELDS),
        "\nAn entry of `data`:\n",
        &rows(secret_objects::DATA_FIELDS),
    ]
    .concat()
}

/// A table of the properties, in their order.
fn rows(properties: &[&Property]) -> String {
    let rows = properties.iter().map(|property| {
        let name = format!("`{}`", property.name);
        let default = if property.needed {
            "needed"
        } else {
            property.default
        };
        let example = match property.example {
            "" => String::new(),
            example => format!("`{example}`"),
        };
        let what = what(property).replace('|', "\\|");
        format!("| {name} | {default} | {example} | {what} |\n")
    });
    iter::once("\n| name | default | example | |\n|---|---|---|---|\n".to_owned())
        .chain(rows)
        .collect()
}

/// What a property is, in sentences.
fn what(property: &Property) -> String {
    let since = match property.since {
        Property::FIRST => String::new(),
        version => format!(" since {version}"),
    };
    let ours = match property.owner {
        Owner::Ours => format!("Ours{since}. "),
        Owner::GoProvider | Owner::Driver => String::new(),
    };
    let deprecated = if property.deprecated {
        "Deprecated. "
    } else {
        ""
    };
    let words = match property.shape {
        Shape::Switch => vec!["true", "false"],
        _ => property.words(),
    };
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let words = match words[..] {
        [] => String::new(),
        _ => format!(" One of {}.", words.join(", ")),
    };
    let max = property.max.map(|max| format!(" At most {max} bytes."));
    let max = max.unwrap_or_default();
    format!("{ours}{deprecated}{}{max}{words}", property.description)
}
