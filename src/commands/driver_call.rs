//! The driver's call for a class and a pod: what `mount` and `doctor` make of a manifest and of the flags that stand
//! for the pod.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::class::cloud::{CloudChoice, PUBLIC_AUDIENCE};
use crate::class::identity::{Audiences, IDENTITY_BINDING_AUDIENCE, IdentityError};
use crate::class::parameters::{ParameterError, Parameters};
use crate::class::property::parameters::CLOUD_NAME;
use crate::class::request::Request;
use crate::class::service_account_tokens::TokensError;
use crate::commands::manifest::Class;
use crate::explain::{CallError, Explanation, Reason};
use crate::generated::v1alpha1::MountRequest;
use crate::server::service::Service;
use crate::settings::PodSettings;
use crate::text::sensitive::Sensitive;

/// The attribute that has the pod's tokens.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// Why there is no call for a pod.
#[derive(Debug, Error)]
pub enum DriverCallError {
    #[error("--token-file {}: cannot be read", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    /// The folder that stands for `nodePublishSecretRef`.
    #[error("--node-publish-secret {}: cannot be read as files of text", path.display())]
    NodePublishSecret {
        /// The folder, or a file in it.
        path: PathBuf,
        source: io::Error,
    },
}

/// The namespace of the pod, and so of its class.
pub(super) fn namespace<'a>(class: &'a Class, pod: &'a PodSettings) -> &'a str {
    let said = pod.namespace.as_deref().or(class.namespace.as_deref());
    said.unwrap_or("default")
}

/// What the driver would send.
pub(super) fn request(
    class: &Class,
    pod: &PodSettings,
    target: &Path,
    permission: u16,
) -> Result<MountRequest, DriverCallError> {
    let mut attributes = json!(class.parameters);
    attributes["csi.storage.k8s.io/pod.name"] = json!(pod.pod_name);
    attributes["csi.storage.k8s.io/pod.namespace"] = json!(namespace(class, pod));
    attributes["secretProviderClass"] = json!(class.name);
    attributes["csi.storage.k8s.io/serviceAccount.name"] = json!(pod.service_account);
    attributes["csi.storage.k8s.io/ephemeral"] = json!("true");
    let token = match &pod.token_file {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|source| {
            let path = path.clone();
            DriverCallError::TokenFile { path, source }
        })?),
        None => class
            .token
            .as_ref()
            .and_then(Sensitive::expose_str)
            .map(str::to_owned),
    };
    if let Some(token) = token {
        // Whichever of the two the class's identity needs, this is it.
        let token = json!({ "token": token.trim() });
        let tokens = json!({ PUBLIC_AUDIENCE: token, IDENTITY_BINDING_AUDIENCE: token });
        attributes[TOKENS] = json!(tokens.to_string());
    }
    Ok(MountRequest {
        attributes: attributes.to_string(),
        secrets: json!(node_publish_secret(pod.node_publish_secret.as_deref())?).to_string(),
        target_path: target.display().to_string(),
        permission: permission.to_string(),
        current_object_version: Vec::new(),
    })
}

/// Reads a call as the provider does; where that is another process, with the audiences of the class's cloud.
pub(super) fn parse(
    call: &MountRequest,
    service: Option<&Service>,
) -> Result<(Request, Parameters), CallError> {
    let mut request = Request::parse(&call.attributes, &call.secrets, &call.permission)?;
    let cloud = request.attributes.get(CLOUD_NAME.name).map(String::as_str);
    match (service, CloudChoice::new(cloud.unwrap_or_default(), "")) {
        (Some(service), _) => request.audiences = service.audiences(&request),
        (None, Ok(CloudChoice::Known(cloud))) => request.audiences = Audiences::new(&[], &cloud),
        (None, _) => {}
    }
    let parameters = Parameters::parse(&request)?;
    Ok((request, parameters))
}

/// What is known of a call whose class signs in by the pod's token, where there is none.
#[derive(Debug)]
pub(super) struct WithoutToken {
    /// The call with what stands in for a token, which is sent to nobody.
    pub(super) call: MountRequest,
    /// Why there is no token, and where to get one.
    pub(super) why: Explanation,
    /// What a cluster needs whose pods have the same trouble.
    pub(super) in_cluster: String,
}

impl WithoutToken {
    /// A call that has all it needs but a token.
    pub(super) fn of(call: &MountRequest, service: Option<&Service>) -> Option<Self> {
        let CallError::Parameters(problems) = parse(call, service).err()? else {
            return None;
        };
        let absent = problems.iter().find_map(|problem| match problem {
            ParameterError::Identity(IdentityError::Tokens(
                absent @ TokensError::Absent { .. },
            )) => Some(absent),
            _ => None,
        })?;
        let TokensError::Absent { audience, .. } = absent else {
            return None;
        };
        let mut attributes: Map<String, Value> = serde_json::from_str(&call.attributes).ok()?;
        let stand_in = json!({ "token": "none" });
        let tokens = json!({ PUBLIC_AUDIENCE: stand_in, IDENTITY_BINDING_AUDIENCE: stand_in });
        attributes.insert(TOKENS.to_owned(), json!(tokens.to_string()));
        let call = MountRequest {
            attributes: Value::Object(attributes).to_string(),
            ..call.clone()
        };
        let (request, _) = parse(&call, service).ok()?;
        let pod = &request.pod;
        let in_cluster = problems
            .first()
            .map(|problem| Explanation::of_parameter(problem).fix);
        Some(Self {
            call,
            why: Explanation {
                reason: Reason::TokenAudienceMissing,
                cause: format!(
                    "the class signs in by a token of the pod's service account for audience {audience}, and there is none \
                     here"
                ),
                fix: format!(
                    "kubectl create token {} --namespace {} --audience {audience} > token, and pass --token-file token",
                    pod.service_account, pod.namespace
                ),
            },
            in_cluster: in_cluster.unwrap_or_default(),
        })
    }
}

/// The Secret's data as the kubelet gives it to the driver: by the names of the files, hidden ones left
/// out.
fn node_publish_secret(folder: Option<&Path>) -> Result<BTreeMap<String, String>, DriverCallError> {
    let Some(folder) = folder else {
        return Ok(BTreeMap::new());
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DriverCallError::NodePublishSecret { path, source }
    };
    let mut data = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && !name.starts_with('.') {
            data.insert(name, std::fs::read_to_string(&path).map_err(failed(&path))?);
        }
    }
    Ok(data)
}
