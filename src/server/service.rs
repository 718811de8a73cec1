//! [`Service`], the driver's gRPC service: a `Mount` call typed, planned, carried out, and answered.
//!
//! Each call has a task, which the HTTP library spawns for it and drops when the caller goes away. When a mount panics, it is
//! answered with `INTERNAL` and nothing else is touched.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use crate::class::cloud::CloudChoice;
use crate::class::identity::Audiences;
use crate::class::plan::Conventions;
use crate::class::request::{Request, RequestError};
use crate::explain::{CallError, Explanation};
use crate::generated::v1alpha1::csi_driver_provider_server::CsiDriverProvider;
use crate::generated::v1alpha1::{
    File, MountRequest, MountResponse, ObjectVersion, VersionRequest, VersionResponse,
};
use crate::mount::{Mounted, MountedFile, Occasion, Provider};
use crate::observe::metrics::{Metrics, Rotator};
use crate::os::freed_memory::FreedMemory;
use crate::server::calls::{Message, Sending};
use crate::server::classes::Classes;
use crate::server::environment_files::EnvironmentFiles;
use crate::server::journal::{Journal, Notes};
use crate::server::policy_file::PolicyFile;
use crate::server::rotations::Rotations;
use crate::server::socket::{Call, Seat};
use crate::server::volumes::{Volume, Volumes};
use crate::shares::{Account, Budget, Held, Namespace, Payer, Place, Places, Rank, Weight};
use crate::text::excerpt::one_line;

/// The version of the contract between driver and provider.
pub const CONTRACT: &str = "v1alpha1";
/// What this provider calls itself towards the driver.
pub const RUNTIME_NAME: &str = "provider-azure-rs";
/// How long before the caller's deadline an answer is due, so that it still arrives.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);
/// How long files that are there wait for the bytes of their answer, even if the mount's time is over.
const SENDING: Duration = Duration::from_millis(200);
/// The most characters of an error's message. It travels in a header, and callers limit those.
const MAX_MESSAGE: usize = 3000;
/// The driver's gRPC service.
#[derive(Clone, Debug)]
pub struct Service {
    /// What carries mounts out.
    pub provider: Arc<Provider>,
    /// Which cloud a class may mean.
    pub environment_files: EnvironmentFiles,
    /// What the operator decides for every class.
    pub conventions: Conventions,
    /// Audiences of workload identities that the operator adds.
    pub token_audiences: Vec<String>,
    /// What namespaces may do; everything where there is none.
    pub policy: Option<Arc<PolicyFile>>,
    /// Cancelled when mounts that are still under way must be answered now, since the process ends.
    pub closing: CancellationToken,
    /// Where mounts are counted.
    pub metrics: Metrics,
    /// What is known of how mounts came out.
    pub journal: Arc<Journal>,
    /// Which volumes have their files.
    pub volumes: Arc<Volumes>,
    /// What tells pods of their rotations, if they are told.
    pub rotations: Option<Rotations>,
    /// What mounts leave behind.
    pub freed_memory: Arc<FreedMemory>,
    /// Most time for one mount.
    pub mount_timeout: Duration,
    /// Places for mounts that are worked on.
    pub places: Arc<Places>,
    /// The bytes that messages may hold.
    pub messages: Budget,
    /// The bytes that mounts may hold.
    pub budget: Budget,
    /// What mounts of one class have together.
    pub classes: Arc<Classes>,
}

impl Service {
    async fn carry_out(
        self,
        mut request: Request,
        mut message: Option<Message>,
        occasion: Occasion,
        notes: Arc<Notes>,
    ) -> Result<(Mounted, Sending), CallError> {
        let deadline = occasion.deadline;
        let namespace = Namespace::new(&request.pod.namespace);
        let account = Arc::new(self.budget.open(&namespace));
        if let Some(message) = &mut message {
            message.shrink_to(request.weight() + request.objects.len());
        }
        let admitted = self.admit(&mut request, &account, deadline).await?;
        drop(message);
        // What a mount costs shows when its class is read; until then a short class is a small one.
        let rank = Rank {
            order: request.objects.len() as u64,
            ..Rank::default()
        };
        let _place = self.place(&namespace, rank, deadline).await?;
        request.audiences = self.audiences(&request);
        let pod = &request.pod;
        let payer = Payer::new(&pod.namespace, &pod.name, &pod.class);
        let planning = self.planned(request, admitted.digest, &payer, &account, deadline, &notes);
        let planned = planning.await?;
        drop(admitted);
        let mount = self
            .provider
            .mount(&planned.plan, &payer, &account, occasion, &notes.phases);
        let (mounted, held) = namespace.around(mount).await?;
        drop(planned);
        let size = mounted.files.iter().map(MountedFile::size_in_answer).sum();
        let sending = Sending {
            files: Arc::new(held),
            answer: Arc::new(bytes(&account, size, deadline.max(Instant::now() + SENDING)).await?),
        };
        Ok((mounted, sending))
    }

    /// A place for a mount, now that it is known who pays for it.
    async fn place(
        &self,
        namespace: &Namespace,
        rank: Rank,
        deadline: Instant,
    ) -> Result<Place, CallError> {
        let start = Instant::now();
        let taking = self.places.take(namespace, rank);
        tokio::time::timeout_at(deadline, taking)
            .await
            .map_err(|_| CallError::NoPlace {
                after: start.elapsed(),
            })
    }

    /// The audiences of a workload identity in the cloud that the class names. What is wrong with that cloud shows when
    /// the class is read.
    pub fn audiences(&self, request: &Request) -> Audiences {
        let get = |name: &str| {
            request
                .attributes
                .get(name)
                .map_or("", |value| value.trim())
        };
        let cloud = CloudChoice::new(get("cloudName"), get("cloudEnvFileName")).ok();
        let cloud = cloud.and_then(|cloud| self.environment_files.resolve(cloud).ok());
        let cloud = cloud.unwrap_or_else(|| self.environment_files.default.clone());
        Audiences::new(&self.token_audiences, &cloud)
    }

    fn deadline(&self, metadata: &MetadataMap) -> Instant {
        let callers = metadata
            .get("grpc-timeout")
            .and_then(|value| grpc_timeout(value.to_str().ok()?))
            .map_or(self.mount_timeout, |timeout| {
                timeout.saturating_sub(ANSWER_MARGIN)
            });
        Instant::now() + callers.min(self.mount_timeout)
    }
}

/// Waits for bytes until the deadline.
pub(super) async fn bytes(
    account: &Account,
    bytes: usize,
    deadline: Instant,
) -> Result<Held, CallError> {
    let start = Instant::now();
    tokio::time::timeout_at(deadline, account.take(bytes))
        .await
        .map_err(|_| CallError::NoBytes {
            after: start.elapsed(),
        })
}

#[tonic::async_trait]
impl CsiDriverProvider for Service {
    async fn version(
        &self,
        request: tonic::Request<VersionRequest>,
    ) -> Result<Response<VersionResponse>, Status> {
        let start = std::time::Instant::now();
        let _call = counted(&request);
        self.metrics
            .called("/v1alpha1.CSIDriverProvider/Version", start);
        Ok(Response::new(VersionResponse {
            version: CONTRACT.to_owned(),
            runtime_name: RUNTIME_NAME.to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }

    async fn mount(
        &self,
        mut request: tonic::Request<MountRequest>,
    ) -> Result<Response<MountResponse>, Status> {
        let _end = End(&self.freed_memory);
        let arrived = self.provider.arrive();
        let mut entry = self.journal.begin();
        let notes = Arc::clone(entry.notes());
        let mut mounting = self.metrics.mount(Arc::clone(&notes.phases));
        #[cfg(feature = "otlp")]
        mounting.set_trace(notes.trace.id());
        let _call = counted(&request);
        let deadline = self.deadline(request.metadata());
        let message = request.extensions_mut().remove::<Message>();
        let Typed {
            request,
            target_path,
            tells_by_itself,
        } = typed(request.into_inner());
        let (mut volume, mut rotating) = (None, None);
        let result = match request {
            Ok(request) => {
                volume = Volume::new(&request.pod, &target_path);
                if let Some(volume) = &volume {
                    if tells_by_itself {
                        self.volumes.fill(volume.clone());
                        if let Some(rotations) = &self.rotations {
                            rotations.forget(volume);
                        }
                    } else if let Some(rotations) = &self.rotations {
                        rotating = rotations.begin(volume, &request);
                    }
                }
                let is_remount = volume
                    .as_ref()
                    .is_some_and(|volume| self.volumes.is_filled(volume));
                if is_remount {
                    self.metrics.rotated_by(if tells_by_itself {
                        Rotator::Driver
                    } else {
                        Rotator::Kubelet
                    });
                }
                let occasion = Occasion {
                    arrived,
                    is_remount,
                    deadline,
                };
                entry.set_volume(&request.pod, &target_path);
                mounting.set_class(&request.pod.namespace, &request.pod.class);
                let trace = notes.trace.clone();
                let mount = Box::pin(self.clone().carry_out(request, message, occasion, notes));
                tokio::select! {
                    result = contain(trace.around(mount)) => result,
                    () = self.closing.cancelled() => Err(CallError::ShuttingDown),
                }
            }
            Err(error) => Err(error.into()),
        };
        match result {
            Ok((mounted, sending)) => {
                if let Some(rotating) = rotating {
                    rotating.given(&mounted);
                }
                let files = mounted.files;
                mounting.succeeded(earliest_expiry(&files));
                entry.mounted(&files);
                if let Some(volume) = volume {
                    self.volumes.answered(volume);
                }
                let mut answer = Response::new(answer(files));
                answer.extensions_mut().insert(sending);
                Ok(answer)
            }
            Err(error) => {
                let explanation = Explanation::of(&error);
                mounting.failed(explanation.reason.code(), explanation.reason.as_str());
                entry.failed(&explanation, &error);
                if let Some(rotating) = rotating {
                    rotating.failed(&explanation);
                }
                let message = one_line(&explanation.to_string(), MAX_MESSAGE);
                Err(Status::new(explanation.reason.code(), message))
            }
        }
    }
}

/// The end of a mount, however it ends.
struct End<'a>(&'a FreedMemory);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.mount_ended();
    }
}

/// A call, of whose message nothing else is kept.
struct Typed {
    request: Result<Request, RequestError>,
    target_path: String,
    /// Whether it is a remount by a driver that looks for rotations by itself, and tells pods of them: those before 1.6 say
    /// which versions a volume has.
    tells_by_itself: bool,
}

/// The call. Its texts go, which hold what nobody reads and the tokens of the pod.
fn typed(message: MountRequest) -> Typed {
    Typed {
        request: Request::parse(&message.attributes, &message.secrets, &message.permission),
        target_path: message.target_path,
        tells_by_itself: !message.current_object_version.is_empty(),
    }
}

/// Counts a call on its connection. From here on, when its message is there: who only begins one is idle.
fn counted<T>(request: &tonic::Request<T>) -> Option<Call> {
    let seat = request.extensions().get::<Arc<Seat>>();
    seat.map(Seat::begin_call)
}

/// A mount whose panic stays inside. What it leaves behind is dropped with it; what it shares has no half-made state.
async fn contain<T>(mount: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    AssertUnwindSafe(mount)
        .catch_unwind()
        .await
        .unwrap_or(Err(CallError::Panicked))
}

/// When the first of the objects expires, if one does.
fn earliest_expiry(files: &[MountedFile]) -> Option<OffsetDateTime> {
    files
        .iter()
        .filter_map(|file| file.attributes.expires)
        .min()
}

fn answer(files: Vec<MountedFile>) -> MountResponse {
    let object_version = files
        .iter()
        .map(|file| ObjectVersion {
            id: file.id.clone(),
            version: file.version.clone(),
        })
        .collect();
    let files = files
        .into_iter()
        .map(|file| File {
            path: file.path,
            mode: i32::from(file.mode.bits()),
            contents: file.contents.into_bytes(),
        })
        .collect();
    MountResponse {
        object_version,
        error: None,
        files,
    }
}

/// The header `grpc-timeout`: up to eight digits and a unit.
///
/// Source: "gRPC over HTTP2", section "Requests".
pub fn grpc_timeout(text: &str) -> Option<Duration> {
    let (value, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if value.is_empty() || value.len() > 8 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = value.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::commands::serve::service;
    use crate::settings::Settings;

    #[tokio::test]
    async fn a_panic_stays_in_its_mount() {
        let panicking = contain(async { panic!("canary") as Result<(), CallError> }).await;
        let error = panicking.unwrap_err();
        assert!(matches!(error, CallError::Panicked));
        let explanation = Explanation::of(&error);
        assert_eq!(explanation.reason.code(), tonic::Code::Internal);
        assert!(!explanation.to_string().contains("canary"));
        assert!(contain(async { Ok::<_, CallError>(7) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_mount_ends_with_its_caller() {
        let (alive, gone) = tokio::sync::oneshot::channel::<()>();
        let mount = contain(async move {
            let _alive = alive;
            std::future::pending::<Result<(), CallError>>().await
        });
        assert!(
            tokio::time::timeout(Duration::from_millis(10), mount)
                .await
                .is_err()
        );
        assert!(gone.await.is_err());
    }

    #[test]
    fn the_callers_timeout_is_read() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("119999m", Some(Duration::from_millis(119_999))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("7u", Some(Duration::from_micros(7))),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("123456789S", None),
            ("5é", None),
        ] {
            assert_eq!(grpc_timeout(text), expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_due_before_the_caller_gives_up() {
        let flags = ["provider-azure-rs", "--mount-timeout", "50s"];
        let settings = Settings::try_parse_from(flags).unwrap();
        let service = service(&settings.serve.provider, Metrics::default()).unwrap();
        for (timeout, milliseconds) in [
            (None, 50_000),
            (Some("nonsense"), 50_000),
            (Some("10S"), 9_750),
            (Some("50S"), 49_750),
            (Some("2M"), 50_000),
            (Some("100m"), 0),
        ] {
            let mut metadata = MetadataMap::new();
            if let Some(timeout) = timeout {
                metadata.insert("grpc-timeout", timeout.parse().unwrap());
            }
            let time = service.deadline(&metadata) - Instant::now();
            assert_eq!(time, Duration::from_millis(milliseconds), "{timeout:?}");
        }
    }
}
