//! [`Driver`], the driver's side of the contract: as much of `proto/service.proto` as figures need.

use std::io;
use std::os::unix::net::UnixStream;

use hyper_util::rt::TokioIo;
use serde_json::json;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::failure::{Failure, cannot};

/// The vault that mounts are from.
pub const VAULT: &str = "bench-kv";
/// The secret that is mounted.
pub const SECRET: &str = "secret";
/// The client ID of the identity that mounts use.
pub const CLIENT_ID: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";

/// `VersionRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct VersionRequest {
    #[prost(string, tag = "1")]
    version: String,
}

/// `VersionResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VersionResponse {
    #[prost(string, tag = "1")]
    version: String,
    /// The provider's name.
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    /// The provider's version.
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

/// `MountRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct MountRequest {
    #[prost(string, tag = "1")]
    attributes: String,
    #[prost(string, tag = "2")]
    secrets: String,
    #[prost(string, tag = "3")]
    target_path: String,
    #[prost(string, tag = "4")]
    permission: String,
}

/// `MountResponse`, of which only the number of files matters.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct MountResponse {
    #[prost(message, repeated, tag = "3")]
    files: Vec<MountedFile>,
}

/// `File`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct MountedFile {
    #[prost(string, tag = "1")]
    path: String,
}

/// A client on one connection.
#[derive(Clone, Debug)]
pub struct Driver {
    grpc: Grpc<Channel>,
}

impl Driver {
    /// Speaks HTTP/2 on a connection that is there.
    pub async fn on(stream: UnixStream) -> Result<Self, Failure> {
        stream
            .set_nonblocking(true)
            .map_err(cannot("use the socket"))?;
        let mut stream = Some(stream);
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream
                .take()
                .ok_or_else(|| io::Error::other("the connection ended"));
            std::future::ready(
                stream
                    .and_then(tokio::net::UnixStream::from_std)
                    .map(TokioIo::new),
            )
        });
        // The name is never looked up: the connection is there.
        let channel = Endpoint::from_static("http://provider")
            .connect_with_connector(connector)
            .await?;
        Ok(Self {
            grpc: Grpc::new(channel),
        })
    }

    /// `Version`.
    pub async fn version(&mut self) -> Result<VersionResponse, Failure> {
        let request = VersionRequest {
            version: "v1alpha1".to_owned(),
        };
        self.call("/v1alpha1.CSIDriverProvider/Version", request)
            .await
    }

    /// `Mount`, of one secret by managed identity.
    pub async fn mount(&mut self) -> Result<(), Failure> {
        let attributes = json!({
            "csi.storage.k8s.io/pod.name": "bench-0",
            "csi.storage.k8s.io/pod.namespace": "bench",
            "csi.storage.k8s.io/serviceAccount.name": "bench",
            "keyvaultName": VAULT,
            "tenantId": azure_emulator::DEFAULT_TENANT,
            // The Go provider does not take the identity's ID for a wish to use it.
            "useVMManagedIdentity": "true",
            "userAssignedIdentityID": CLIENT_ID,
            "objects": format!("array:\n  - |\n    objectName: {SECRET}\n    objectType: secret\n"),
        });
        let request = MountRequest {
            attributes: attributes.to_string(),
            secrets: "{}".to_owned(),
            target_path: "/bench".to_owned(),
            permission: "420".to_owned(),
        };
        let response: MountResponse = self
            .call("/v1alpha1.CSIDriverProvider/Mount", request)
            .await?;
        if response.files.len() == 1 {
            Ok(())
        } else {
            Err(Status::internal("expected one file in the answer").into())
        }
    }

    async fn call<Q, A>(&mut self, method: &'static str, request: Q) -> Result<A, Failure>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.grpc.ready().await?;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        let response = self.grpc.unary(Request::new(request), path, codec).await?;
        Ok(response.into_inner())
    }
}
