//! [`PodStatus`], what the driver says of a volume: the object `SecretProviderClassPodStatus`, which it writes after the
//! files.

use std::collections::BTreeMap;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cluster::api_server::{ApiServer, ClusterError, is_object_name};

/// What the driver says of one volume of a pod. Only the driver, and who has rights on these objects, can write it; it is
/// no proof of anything that gives a value away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStatus {
    /// Whether the volume has its files.
    pub mounted: bool,
    /// The UID of the pod that it belongs to.
    pub pod_uid: Option<String>,
    /// Where it is mounted.
    pub target_path: String,
    /// The version of each object that the files were made of, by its ID.
    pub objects: BTreeMap<String, String>,
    /// When it was written last.
    pub written: Option<OffsetDateTime>,
}

/// The object, as far as it means something here.
///
/// Source: the driver v1.6.0, `apis/v1/secretproviderclasspodstatus_types.go`.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    owner_references: Vec<Owner>,
    managed_fields: Vec<Write>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Write {
    time: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    pod_name: String,
    secret_provider_class_name: String,
    mounted: bool,
    target_path: String,
    objects: Vec<Object>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    id: String,
    version: String,
}

impl ApiServer {
    /// What the driver says of the volume that this pod has of this class. None where it says nothing, or says it of
    /// another one: in a namespace `n`, pod `a-n-b` with class `c` and pod `a` with class `b-n-c` have one name.
    pub async fn pod_status(
        &self,
        namespace: &str,
        pod: &str,
        class: &str,
    ) -> Result<Option<PodStatus>, ClusterError> {
        // As the driver's `pkg/secrets-store/utils.go` makes it.
        let name = format!("{pod}-{namespace}-{class}");
        // Those that could have no such object; and nothing else gets into a path.
        if !is_object_name(namespace) || !is_object_name(&name) {
            return Ok(None);
        }
        let path = format!(
            "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{namespace}/secretproviderclasspodstatuses/{name}"
        );
        match self.get(&path).await {
            Ok(answer) => PodStatus::read(&answer, pod, class),
            Err(ClusterError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl PodStatus {
    /// The status in the API server's answer, if it is that of this pod and class.
    pub fn read(answer: &[u8], pod: &str, class: &str) -> Result<Option<Self>, ClusterError> {
        let Document { metadata, status } =
            serde_json::from_slice(answer).map_err(|_| ClusterError::Malformed)?;
        if status.pod_name != pod || status.secret_provider_class_name != class {
            return Ok(None);
        }
        let owners = metadata.owner_references.into_iter();
        let writes = metadata.managed_fields.iter();
        let mut pods = owners.filter(|owner| owner.kind == "Pod" && owner.name == pod);
        let objects = status.objects.into_iter();
        Ok(Some(Self {
            mounted: status.mounted,
            pod_uid: pods.next().map(|owner| owner.uid),
            target_path: status.target_path,
            objects: objects.map(|object| (object.id, object.version)).collect(),
            written: writes
                .filter_map(|write| OffsetDateTime::parse(&write.time, &Rfc3339).ok())
                .max(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the driver v1.6.0 writes it.
    const WRITTEN: &str = r#"{
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus",
        "metadata": {
            "name": "web-0-shop-kv", "namespace": "shop",
            "labels": {"internal.secrets-store.csi.k8s.io/node-name": "node-1"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": "u-1"}],
            "managedFields": [
                {"manager": "secrets-store-csi", "operation": "Update", "time": "2026-11-27T10:00:00Z"},
                {"manager": "kubectl", "operation": "Update"},
                {"manager": "secrets-store-csi", "operation": "Update", "time": "2026-11-27T09:00:00Z"}
            ]
        },
        "status": {
            "mounted": true, "podName": "web-0", "secretProviderClassName": "kv",
            "targetPath": "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/s/mount",
            "objects": [{"id": "secret/a", "version": "1"}, {"id": "secret/b", "version": "2"}]
        }
    }"#;

    #[test]
    fn a_status_is_read_as_the_driver_writes_it() {
        let status = PodStatus::read(WRITTEN.as_bytes(), "web-0", "kv");
        let objects = [("secret/a", "1"), ("secret/b", "2")];
        let expected = PodStatus {
            mounted: true,
            pod_uid: Some("u-1".to_owned()),
            target_path: "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/s/mount".to_owned(),
            objects: objects
                .map(|(id, version)| (id.into(), version.into()))
                .into(),
            written: Some(time::macros::datetime!(2026-11-27 10:00 UTC)),
        };
        assert_eq!(status.unwrap(), Some(expected));
    }

    #[test]
    fn what_is_another_volumes_is_none_and_what_is_none_is_refused() {
        for (pod, class) in [("web", "0-shop-kv"), ("web-0", "other")] {
            assert_eq!(
                PodStatus::read(WRITTEN.as_bytes(), pod, class).unwrap(),
                None
            );
        }
        for text in ["", "1", "{", r#"{"status": {"objects": 1}}"#] {
            let read = PodStatus::read(text.as_bytes(), "web-0", "kv");
            assert!(matches!(read, Err(ClusterError::Malformed)), "{text}");
        }
        // Not mounted: the driver leaves empty fields out.
        let bare = r#"{"status": {"podName": "p", "secretProviderClassName": "c"}}"#;
        let read = PodStatus::read(bare.as_bytes(), "p", "c");
        assert_eq!(read.unwrap(), Some(PodStatus::default()));
    }
}
