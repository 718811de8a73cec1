//! [`Driver`], the driver's side of the contract: as much of `proto/service.proto` as figures need.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::failure::{Failure, cannot};
use crate::pod::Pod;

/// The most bytes of an answer. Providers have bounds of their own.
const ANSWER: usize = 64 * 1024 * 1024;
/// The most time for one call: what the kubelet gives a mount.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct VersionRequest {
    #[prost(string, tag = "1")]
    version: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct VersionResponse {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    runtime_name: String,
    #[prost(string, tag = "3")]
    runtime_version: String,
}

/// Such as `azure-rs 0.1.0`.
impl fmt::Display for VersionResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A build of the Go provider by hand has no version.
        let text = format!("{} {}", self.runtime_name, self.runtime_version);
        f.write_str(text.trim_end())
    }
}

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

/// A client on one connection; clones share it.
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
            grpc: Grpc::new(channel).max_decoding_message_size(ANSWER),
        })
    }

    pub async fn version(&mut self) -> Result<VersionResponse, Failure> {
        let request = VersionRequest {
            version: "v1alpha1".to_owned(),
        };
        self.call("/v1alpha1.CSIDriverProvider/Version", request)
            .await
    }

    /// `Mount`. An error, too, where there are not as many files as the pod asks for.
    pub async fn mount(&mut self, pod: &Pod) -> Result<(), Failure> {
        self.mount_at(pod, "/bench").await
    }

    /// The same for a volume at this path.
    pub async fn mount_at(&mut self, pod: &Pod, path: &str) -> Result<(), Failure> {
        let request = MountRequest {
            attributes: pod.attributes.clone(),
            secrets: pod.secrets.clone(),
            target_path: path.to_owned(),
            permission: "420".to_owned(),
        };
        let response: MountResponse = self
            .call("/v1alpha1.CSIDriverProvider/Mount", request)
            .await?;
        let (files, expected) = (response.files.len(), pod.files);
        if files == expected {
            Ok(())
        } else {
            let text = format!("expected {expected} files in the answer, found {files}");
            Err(Status::internal(text).into())
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
        let mut request = Request::new(request);
        request.set_timeout(PATIENCE);
        let response = self.grpc.unary(request, path, codec).await?;
        Ok(response.into_inner())
    }
}
