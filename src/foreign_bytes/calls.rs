//! What the driver sends: the message, what the class and the pod say in it, and the pod's tokens.

use std::path::Path;

use prost::Message as _;

use super::{Secrets, is_hidden_in_map, parts, refused};
use crate::class::assertion::{self, Claims};
use crate::class::cloud::{Cloud, PUBLIC_AUDIENCE};
use crate::class::identity::{IDENTITY_BINDING_AUDIENCE, Identity};
use crate::class::object::{FilePath, Object, yaml};
use crate::class::parameters::Parameters;
use crate::class::plan::{Conventions, Fetch, HistoryCount, Plan};
use crate::class::property::fields;
use crate::class::request::Request;
use crate::class::service_account_tokens::ServiceAccountTokens;
use crate::generated::v1alpha1::MountRequest;
use crate::shares::Stop;
use crate::text::sensitive::Sensitive;

/// The most entries whose paths are compared one by one with every other's.
const MAX_COMPARED: usize = 30;

/// A message of gRPC, up to the plan.
pub fn mount_request(input: &[u8]) {
    let Ok(message) = MountRequest::decode(input) else {
        return;
    };
    let again = MountRequest::decode(message.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&message));
    let secrets = Secrets::new(input, is_hidden_in_map(&message.secrets));
    secrets.keep_out_of_text(&format!("{message:?}"));
    up_to_the_plan(
        [&message.attributes, &message.secrets, &message.permission],
        secrets,
    );
}

/// The three texts in it, between lines of `%%`.
pub fn class(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut texts = parts(text.as_bytes()).filter_map(|part| std::str::from_utf8(part).ok());
    let attributes = texts.next().unwrap_or_default();
    let secrets = texts.next().unwrap_or_default();
    let permission = texts.next().unwrap_or("420");
    let is_secret = is_hidden_in_map(secrets)
        || tokens_in(attributes).is_some_and(|tokens| is_hidden_in_map(&tokens));
    up_to_the_plan(
        [attributes, secrets, permission],
        Secrets::new(input, is_secret),
    );
}

fn tokens_in(attributes: &str) -> Option<String> {
    let attributes: serde_json::Value = serde_json::from_str(attributes).ok()?;
    let tokens = attributes.get("csi.storage.k8s.io/serviceAccount.tokens")?;
    tokens.as_str().map(str::to_owned)
}

fn up_to_the_plan([attributes, secrets, permission]: [&str; 3], secret: Secrets) {
    let request = match Request::parse(attributes, secrets, permission) {
        Ok(request) => request,
        Err(error) => return refused(&error.into(), secret),
    };
    secret.keep_out_of_text(&format!("{request:?}"));
    let parameters = match Parameters::parse(&request) {
        Ok(parameters) => parameters,
        Err(error) => return refused(&error.into(), secret),
    };
    secret.keep_out_of_text(&format!("{parameters:?}"));
    for warning in &parameters.warnings {
        secret.keep_out_of(&warning.to_string());
    }
    judge_identity(&parameters.identity);
    for separate_files in [false, true] {
        let conventions = Conventions {
            history: if separate_files {
                HistoryCount::Documented
            } else {
                HistoryCount::Go
            },
            construct_pem_chain: true,
            separate_files,
        };
        let Ok(parameters) = Parameters::parse(&request) else {
            panic!("the same class is read in two ways");
        };
        let mode = request.default_mode;
        match Plan::new(parameters, Cloud::public(), conventions, mode) {
            Ok(plan) => judge_plan(&plan),
            Err(error) => refused(&error.into(), secret),
        }
    }
}

/// What becomes part of a URL, a form or a header is made of plain characters.
fn judge_identity(identity: &Identity) {
    if let Some(id) = identity.client_id() {
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            "{id:?}"
        );
    }
}

fn judge_plan(plan: &Plan) {
    assert!(!plan.fetches.is_empty());
    for vault in plan.vaults() {
        let host = plan.cloud.vault_host(vault);
        assert_eq!(
            host.split_once('.').map(|(_, domain)| domain),
            Some("vault.azure.net"),
            "{host}"
        );
    }
    for fetch in &*plan.fetches {
        judge_path(&fetch.path);
        assert!(fetch.mode.bits() <= 0o777);
        assert!(
            fetch
                .name
                .as_str()
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        );
    }
    // Another way than `plan` goes: each path, and each folder that it needs, is nobody else's file.
    let fetches = &plan.fetches[..plan.fetches.len().min(MAX_COMPARED)];
    for one in fetches {
        for other in fetches {
            let mode = one.mode;
            let same = *one
                == Fetch {
                    mode,
                    ..other.clone()
                };
            if !same {
                judge_apart(one, other);
            }
        }
    }
}

fn judge_apart(one: &Fetch, other: &Fetch) {
    // Which certificates' files there are besides is not known yet.
    let mut other = other.clone();
    other.rendering.separate_files = false;
    let path = one.first_path();
    let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
    for taken in folders.chain([path.as_str()]) {
        assert!(
            !other.may_write(taken),
            "{one:?} and {other:?} both need {taken:?}"
        );
    }
}

fn judge_path(path: &FilePath) {
    let text = path.as_str();
    let path = Path::new(text);
    assert!(path.is_relative() && !text.contains("..") && !text.contains(char::is_control));
    assert!(text.len() <= 4096 && text.split('/').all(|part| (1..=255).contains(&part.len())));
    let plain = path
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    assert!(plain && path.components().count() == text.split('/').count());
    assert_eq!(
        FilePath::new(text).map(|path| path.as_str().to_owned()),
        Ok(text.to_owned())
    );
}

/// The YAML of `objects`.
pub fn objects(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // What is read without the YAML parser is what the parser reads: as the whole, and as an entry in a string.
    let in_string = serde_json::json!([text]).to_string();
    for text in [text, &in_string] {
        assert_eq!(
            yaml::entries(text, &Stop::default()),
            yaml::entries_by_parser(text, &Stop::default())
        );
    }
    let entries = match yaml::entries(text, &Stop::default()) {
        Ok(entries) => entries,
        Err(error) => return Secrets::NONE.keep_out_of(&error.to_string()),
    };
    assert!(!entries.is_empty());
    for entry in &entries {
        let fields = match entry {
            Ok(fields) => fields,
            Err(error) => {
                Secrets::NONE.keep_out_of(&error.to_string());
                continue;
            }
        };
        for name in fields.names() {
            assert_eq!(fields.get(name), fields.get(name).trim());
        }
        match Object::from_fields(fields) {
            Ok(object) => {
                judge_path(&object.path);
                let id = object.id();
                assert!(
                    id.split_once('/')
                        .is_some_and(|(_, name)| name == object.name.as_str())
                );
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                for error in errors {
                    assert!(fields::NAMES.contains(&error.field()));
                    Secrets::NONE.keep_out_of(&error.to_string());
                }
            }
        }
    }
    assert_eq!(yaml::entries(text, &Stop::default()), Ok(entries));
}

/// The tokens of a pod's service account, and what is said of one that Entra ID does not take.
pub fn token(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let secret = Secrets::new(input, is_hidden_in_map(text));
    let tokens = ServiceAccountTokens::from(text.to_owned());
    for audience in [PUBLIC_AUDIENCE, IDENTITY_BINDING_AUDIENCE] {
        match tokens.of_audiences(&[audience]) {
            Ok(token) => {
                judge_token(&token);
                secret.keep_out_of_text(&format!("{token:?}"));
            }
            Err(error) => secret.keep_out_of(&error.to_string()),
        }
    }
    // As somebody might send it who need not be the kubelet.
    judge_claims(&Sensitive::from(text.to_owned()));
}

fn judge_token(token: &Sensitive) {
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\,;".contains(byte);
    assert!(token.len() > 0 && token.expose().iter().all(fits));
    judge_claims(token);
}

fn judge_claims(token: &Sensitive) {
    _ = assertion::expiry(token);
    if let Some(claims) = Claims::of(token) {
        super::answers::judge_fix(&claims);
    }
}
