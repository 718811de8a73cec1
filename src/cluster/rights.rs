//! [`Right`], what the API server lets its callers do.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::api_server::{ApiServer, ClusterError};

/// Where anybody may ask for their own rights.
///
/// Source: the Kubernetes API, `SelfSubjectAccessReview` of `authorization.k8s.io/v1`.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// Something that a caller may do to objects of a kind, in all namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Such as `get`.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The kind of objects, as RBAC has it.
    pub resource: &'static str,
}

impl Right {
    /// All that are needed to tell pods of their rotations. The chart's `ClusterRole` has the same.
    pub const NEEDED: [Self; 3] = [
        Self {
            verb: "create",
            group: "events.k8s.io",
            resource: "events",
        },
        Self {
            verb: "patch",
            group: "events.k8s.io",
            resource: "events",
        },
        Self {
            verb: "get",
            group: "secrets-store.csi.x-k8s.io",
            resource: "secretproviderclasspodstatuses",
        },
    ];
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.verb, self.resource, self.group)
    }
}

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    allowed: bool,
}

impl ApiServer {
    /// Whether this process has a right. To ask takes none.
    pub async fn allows(&self, right: Right) -> Result<bool, ClusterError> {
        let Right {
            verb,
            group,
            resource,
        } = right;
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": resource}},
        });
        let answer = self.post(REVIEWS, Bytes::from(review.to_string())).await?;
        let review: Review =
            serde_json::from_slice(&answer).map_err(|_| ClusterError::Malformed)?;
        Ok(review.status.allowed)
    }
}
