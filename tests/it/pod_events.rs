//! What a pod is told of its rotation, and what is asked of the API server for it.

use std::time::Instant;

use azure_emulator::{Effect, Permissions, Target};
use provider_azure_rs::generated::v1alpha1::{MountRequest, MountResponse, ObjectVersion};
use tempfile::TempDir;
use tonic::Status;

use crate::support::api_server::{ApiServer, Event, Fault};
use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::provider::Provider;
use crate::support::{Node, OBJECT_ID, VAULT, versions};

const CLASS: &str = "azure-kv-openai-secret";
const NAMESPACE: &str = "chat";
const POD: &str = "chat-backend-0";
const UID: &str = "0b1c2d3e";

/// A node of a cluster.
struct Cluster {
    api: ApiServer,
    folder: TempDir,
    node: Node,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let (api, folder) = (ApiServer::start().await, tempfile::tempdir().unwrap());
        let kubeconfig = flag(&api, &folder);
        let flags = [&[kubeconfig.as_str()], flags].concat();
        let node = Node::start_with(&flags).await;
        Self { api, folder, node }
    }

    /// The provider is replaced, as by an upgrade.
    async fn restart(&mut self, flags: &[&str]) {
        let kubeconfig = flag(&self.api, &self.folder);
        let flags = [&[kubeconfig.as_str()], flags].concat();
        self.node.provider = Provider::start(&self.node.azure, &flags).await;
    }

    async fn mount(&self, pod: &Pod) -> Result<MountResponse, Status> {
        self.node.provider.mount(pod.request()).await
    }

    /// What the driver does at a sync of the kubelet: it mounts, writes the files and then the status.
    async fn sync(&self, pod: &Pod) {
        let answer = self.mount(pod).await.unwrap();
        self.write(pod, &answer);
    }

    fn write(&self, pod: &Pod, answer: &MountResponse) {
        self.set_status(pod, &versions(answer));
    }

    fn set_status(&self, pod: &Pod, objects: &[(&str, &str)]) {
        let path = pod.request().target_path;
        let of = (NAMESPACE, pod.name.as_str(), pod.uid.as_str());
        self.api.set_status(of, CLASS, &path, objects);
    }

    fn outage(&self) -> u64 {
        let faults = self.node.azure.faults();
        faults.always(Target::vault(VAULT), Effect::error(503))
    }

    fn end(&self, outage: u64) {
        self.node.azure.faults().remove(outage);
    }

    /// The looks at the status of a pod.
    fn looks(&self, pod: &Pod) -> usize {
        let name = format!("/{}-{NAMESPACE}-{CLASS}", pod.name);
        let requests = self.api.requests();
        let looks = requests.iter().filter(|seen| seen.path.ends_with(&name));
        looks.count()
    }
}

fn flag(api: &ApiServer, folder: &TempDir) -> String {
    format!("--kubeconfig={}", api.kubeconfig(folder.path()).display())
}

/// A pod with one volume.
struct Pod {
    name: String,
    uid: String,
    class: Class,
}

impl Pod {
    fn new(class: Class) -> Self {
        Self::named(POD, UID, class)
    }

    fn named(name: &str, uid: &str, class: Class) -> Self {
        let class = class
            .with("csi.storage.k8s.io/pod.name", name)
            .with("csi.storage.k8s.io/pod.uid", uid);
        let (name, uid) = (name.to_owned(), uid.to_owned());
        Self { name, uid, class }
    }

    fn request(&self) -> MountRequest {
        self.class.request()
    }
}

fn pods(count: usize) -> Vec<Pod> {
    let pod = |n| Pod::named(&format!("p-{n}"), &format!("u-{n}"), Class::of_secret("S"));
    (0..count).map(pod).collect()
}

fn said(event: &Event) -> (&str, &str, &str) {
    (&event.kind, &event.reason, &event.note)
}

#[tokio::test]
async fn a_rotation_is_told_once_the_pod_has_it() {
    let cluster = Cluster::start().await;
    let first = cluster.node.vault.set_secret("S", "canary-1");
    let pod = Pod::new(Class::of_secret("S"));
    cluster.sync(&pod).await;
    cluster.sync(&pod).await;
    let second = cluster.node.vault.set_secret("S", "canary-2");
    let answer = cluster.mount(&pod).await.unwrap();
    // The driver takes its time.
    let before = cluster.looks(&pod);
    cluster
        .api
        .once(|_| cluster.looks(&pod) >= before + 2)
        .await;
    assert_eq!(cluster.api.events(), []);
    cluster.write(&pod, &answer);
    let events = cluster.api.events_once_there_are(1).await;
    let note = format!("Rotated secret/S {first} -> {second} of vault {VAULT} (class {CLASS})");
    assert_eq!(
        said(&events[0]),
        ("Normal", "SecretRotationComplete", note.as_str())
    );
    let Event {
        namespace,
        pod: name,
        uid,
        ..
    } = &events[0];
    assert_eq!([namespace, name, uid], [NAMESPACE, POD, UID]);
    // Nothing else was told of its first mounts, and nothing is of those that change nothing.
    let looks = cluster.looks(&pod);
    cluster.sync(&pod).await;
    let third = cluster.node.vault.set_secret("S", "canary-3");
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(2).await;
    let note = format!("Rotated secret/S {second} -> {third} of vault {VAULT} (class {CLASS})");
    assert_eq!(events[1].note, note);
    assert_eq!(cluster.looks(&pod), looks + 1);
}

#[tokio::test]
async fn a_rotation_that_fails_is_told_and_so_is_its_end() {
    let cluster = Cluster::start().await;
    let version = cluster.node.vault.set_secret("S", "canary");
    let pod = Pod::new(Class::of_secret("S"));
    cluster.sync(&pod).await;
    let outage = cluster.outage();
    // This is the first remount: that there are files is known by the status alone.
    let message = cluster.mount(&pod).await.unwrap_err();
    let events = cluster.api.events_once_there_are(1).await;
    let (kind, reason, note) = said(&events[0]);
    assert_eq!((kind, reason), ("Warning", "SecretRotationFailed"));
    assert!(
        note.starts_with("[KV_UNAVAILABLE] Rotation has failed since 20"),
        "{note}"
    );
    let files = format!("(class {CLASS}); the files are still of secret/S {version}. ");
    assert!(note.contains(&files), "{note}");
    let (_, fix) = message.message().split_once(" Fix: ").unwrap();
    assert!(note.ends_with(&format!(" Fix: {fix}")), "{note}");
    // The same is not told again, another reason is.
    for _ in 0..3 {
        cluster.mount(&pod).await.unwrap_err();
    }
    cluster.end(outage);
    cluster.node.vault.revoke(OBJECT_ID);
    cluster.mount(&pod).await.unwrap_err();
    let events = cluster.api.events_once_there_are(2).await;
    assert!(
        events[1].note.starts_with("[KV_ACCESS_DENIED] "),
        "{events:?}"
    );
    cluster.node.vault.grant(OBJECT_ID, Permissions::read());
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(3).await;
    let (kind, reason, note) = said(&events[2]);
    assert_eq!((kind, reason), ("Normal", "SecretRotationRecovered"));
    assert!(
        note.starts_with("Rotation works again. It had failed since 20"),
        "{note}"
    );
    assert!(
        note.ends_with(&format!(" with KV_ACCESS_DENIED (class {CLASS})")),
        "{note}"
    );
    // One that ends with new versions says so, when they are there.
    cluster.node.vault.revoke(OBJECT_ID);
    cluster.mount(&pod).await.unwrap_err();
    cluster.api.events_once_there_are(4).await;
    cluster.node.vault.grant(OBJECT_ID, Permissions::read());
    let new = cluster.node.vault.set_secret("S", "canary-2");
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(6).await;
    let rotated = format!("otated secret/S {version} -> {new} of vault {VAULT} (class {CLASS})");
    assert_eq!(events[4].reason, "SecretRotationComplete");
    assert_eq!(events[5].reason, "SecretRotationRecovered");
    for event in &events[4..] {
        assert!(event.note.ends_with(&rotated), "{events:?}");
    }
    for event in &events {
        assert!(
            !event.note.contains("canary") && event.note.len() <= 1024,
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn a_first_mount_that_fails_is_the_kubelets_to_tell() {
    let cluster = Cluster::start().await;
    cluster.node.vault.set_secret("S", "v");
    // The pod before it had this name, as in a StatefulSet, and its status is still there.
    let before = Pod::named(POD, "another-uid", Class::of_secret("S"));
    cluster.sync(&before).await;
    let pod = Pod::new(Class::of_secret("S"));
    let outage = cluster.outage();
    for _ in 0..3 {
        cluster.mount(&pod).await.unwrap_err();
    }
    cluster.end(outage);
    let looks = cluster.looks(&pod);
    cluster.sync(&pod).await;
    cluster.sync(&pod).await;
    // Each mount of a pod without files is no reason to look.
    assert!(looks <= 2, "{looks}");
    cluster.node.vault.set_secret("S", "w");
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(1).await;
    assert_eq!(events[0].reason, "SecretRotationComplete");
    assert_eq!(events[0].uid, UID);
}

#[tokio::test]
async fn what_a_pod_had_before_its_node_restarted_is_no_longer_there() {
    let mut cluster = Cluster::start().await;
    cluster.node.vault.set_secret("S", "v");
    let pod = Pod::new(Class::of_secret("S"));
    cluster.sync(&pod).await;
    cluster.api.age_statuses();
    cluster.restart(&[]).await;
    let outage = cluster.outage();
    for _ in 0..3 {
        cluster.mount(&pod).await.unwrap_err();
    }
    cluster.end(outage);
    cluster.sync(&pod).await;
    cluster.sync(&pod).await;
    cluster.node.vault.set_secret("S", "w");
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(1).await;
    assert_eq!(events[0].reason, "SecretRotationComplete");
}

#[tokio::test]
async fn another_source_and_an_edited_class_are_told_as_such() {
    let cluster = Cluster::start().await;
    let first = cluster.node.vault.set_secret("S", "v");
    let failover = cluster.node.azure.vault("second-kv");
    failover.grant(OBJECT_ID, Permissions::read());
    let second = failover.set_secret("S", "v");
    let class = Class::of_secret("S").with("failoverKeyvaultName", "second-kv");
    let pod = Pod::new(class.clone());
    cluster.sync(&pod).await;
    cluster.sync(&pod).await;
    let outage = cluster.outage();
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(1).await;
    let note = format!(
        "The files are of the failover vault second-kv instead of {VAULT}, which is unavailable (class {CLASS}): secret/S \
         {first} -> {second}"
    );
    assert_eq!(
        said(&events[0]),
        ("Normal", "SecretSourceChanged", note.as_str())
    );
    cluster.end(outage);
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(2).await;
    let note = format!(
        "The files are of the vault {VAULT} again instead of second-kv (class {CLASS}): secret/S {second} -> {first}"
    );
    assert_eq!(
        said(&events[1]),
        ("Normal", "SecretSourceChanged", note.as_str())
    );
    let other = cluster.node.vault.set_secret("T", "v");
    let edited = Pod::new(class.object("objectName: T\nobjectType: secret"));
    cluster.sync(&edited).await;
    let events = cluster.api.events_once_there_are(3).await;
    let note = format!(
        "The files follow the class {CLASS}, which was edited: secret/T added ({other}) of vault {VAULT}"
    );
    assert_eq!(
        said(&events[2]),
        ("Normal", "SecretProviderClassChanged", note.as_str())
    );
}

#[tokio::test]
async fn whoever_else_tells_or_is_no_pod_is_left_alone() {
    let cluster = Cluster::start().await;
    let secret = Class::of_secret("S");
    let first = cluster.node.vault.set_secret("S", "1");
    // Drivers before 1.6 say which versions a volume has, and tell the pod themselves, of failures too.
    let old_driver = Pod::named("old-driver", "u-1", secret.clone());
    cluster.sync(&old_driver).await;
    // The sync controller has one path for all, and names no pod.
    let controller = secret.clone().without("csi.storage.k8s.io/pod.uid");
    let controller = Pod {
        name: POD.to_owned(),
        uid: String::new(),
        class: controller,
    };
    let pod = Pod::new(secret);
    let rotate = async |value: &str| {
        cluster.node.vault.set_secret("S", value);
        let mut request = old_driver.request();
        request.current_object_version = vec![ObjectVersion {
            id: "secret/S".to_owned(),
            version: first.clone(),
        }];
        let of_controller = MountRequest {
            target_path: "/tmp".to_owned(),
            ..controller.request()
        };
        if let Ok(answer) = cluster.node.provider.mount(request).await {
            cluster.write(&old_driver, &answer);
        }
        _ = cluster.node.provider.mount(of_controller).await;
    };
    rotate("2").await;
    let outage = cluster.outage();
    rotate("3").await;
    cluster.end(outage);
    rotate("4").await;
    // The driver becomes one that does not tell: what the pod has by then is no news.
    cluster.sync(&old_driver).await;
    cluster.sync(&old_driver).await;
    // What is told of the third one comes after anything of those.
    cluster.sync(&pod).await;
    cluster.sync(&pod).await;
    cluster.node.vault.set_secret("S", "5");
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(1).await;
    assert_eq!([events[0].pod.as_str(), events[0].uid.as_str()], [POD, UID]);
    let looks = cluster.looks(&pod) + cluster.looks(&old_driver);
    assert_eq!(
        cluster.api.requests().len(),
        looks + 1,
        "{:?}",
        cluster.api.requests()
    );
}

#[tokio::test]
async fn without_the_flag_nobody_is_asked_or_told() {
    let cluster = Cluster::start_with(&["--pod-events=false"]).await;
    cluster.node.vault.set_secret("S", "1");
    let pod = Pod::new(Class::of_secret("S"));
    for value in ["2", "3"] {
        cluster.sync(&pod).await;
        cluster.node.vault.set_secret("S", value);
    }
    let outage = cluster.outage();
    cluster.mount(&pod).await.unwrap_err();
    cluster.end(outage);
    assert_eq!(cluster.api.connections(), 0);
}

#[tokio::test]
async fn a_failure_goes_on_across_an_upgrade() {
    let mut cluster = Cluster::start().await;
    cluster.node.vault.set_secret("S", "v");
    let pod = Pod::new(Class::of_secret("S"));
    cluster.sync(&pod).await;
    let outage = cluster.outage();
    cluster.restart(&[]).await;
    cluster.mount(&pod).await.unwrap_err();
    let events = cluster.api.events_once_there_are(1).await;
    assert_eq!(events[0].reason, "SecretRotationFailed");
    let note = &events[0].note;
    assert!(
        note.contains("Rotation has failed since at least 20"),
        "{note}"
    );
    cluster.end(outage);
    cluster.sync(&pod).await;
    let events = cluster.api.events_once_there_are(2).await;
    assert_eq!(events[1].reason, "SecretRotationRecovered");
}

#[tokio::test]
async fn a_rotation_across_an_upgrade_is_told() {
    let mut cluster = Cluster::start().await;
    let first = cluster.node.vault.set_secret("S", "v");
    let pod = Pod::new(Class::of_secret("S"));
    cluster.sync(&pod).await;
    let second = cluster.node.vault.set_secret("S", "w");
    cluster.restart(&[]).await;
    let answer = cluster.mount(&pod).await.unwrap();
    cluster.api.once(|_| cluster.looks(&pod) >= 3).await;
    cluster.write(&pod, &answer);
    let events = cluster.api.events_once_there_are(1).await;
    let note = format!("Rotated secret/S {first} -> {second} of vault {VAULT} (class {CLASS})");
    assert_eq!(
        said(&events[0]),
        ("Normal", "SecretRotationComplete", note.as_str())
    );
}

#[tokio::test]
async fn a_remount_is_known_as_one_after_a_restart() {
    let mut cluster = Cluster::start().await;
    cluster.node.vault.set_secret("S", "v");
    let pods = ["known", "unknown"].map(|name| Pod::named(name, name, Class::of_secret("S")));
    let [known, unknown] = &pods;
    cluster.sync(known).await;
    cluster.restart(&["--cache-ttl=110s"]).await;
    // That a failure is told shows that the status was seen.
    let outage = cluster.outage();
    cluster.mount(known).await.unwrap_err();
    cluster.mount(unknown).await.unwrap_err();
    cluster.api.events_once_there_are(1).await;
    cluster.end(outage);
    let reads = || cluster.node.azure.counters().vault(VAULT).all_gets();
    for (pod, read) in [
        (known, 1),
        (known, 0),
        (unknown, 1),
        (unknown, 1),
        (unknown, 0),
    ] {
        let before = reads();
        cluster.mount(pod).await.unwrap();
        assert_eq!(reads() - before, read, "{}", pod.name);
    }
}

#[tokio::test]
async fn a_status_gives_nothing_that_the_caller_has_not_earned() {
    let cluster = Cluster::start_with(&["--cache-ttl=110s"]).await;
    cluster.node.vault.set_secret("S", "canary");
    let pod = Pod::new(Class::of_secret("S"));
    cluster.sync(&pod).await;
    // A status says that there are files, and another identity has no right.
    let class = Class::of_secret("S").without("userAssignedIdentityID");
    let class = class.secrets(r#"{"clientid":"c","clientsecret":"s"}"#);
    let other = Pod::named("other", "u-2", class);
    cluster.set_status(&other, &[("secret/S", "1")]);
    for _ in 0..3 {
        let status = cluster.mount(&other).await.unwrap_err();
        assert!(!status.message().contains("canary"));
        cluster.api.once(|_| cluster.looks(&other) >= 1).await;
    }
}

#[tokio::test]
async fn mounts_do_not_depend_on_the_api_server() {
    for fault in [Fault::Hang, Fault::Answer(403), Fault::Answer(500)] {
        let cluster = Cluster::start().await;
        cluster.node.vault.set_secret("S", "v");
        cluster.api.fail(usize::MAX, None, fault);
        let (pods, start) = (pods(60), Instant::now());
        for _ in 0..2 {
            let mounts = pods.iter().map(|pod| cluster.mount(pod));
            for answer in futures::future::join_all(mounts).await {
                assert_eq!(answer.unwrap().files[0].contents, b"v", "{fault:?}");
            }
        }
        if fault == Fault::Hang {
            // A namespace has four looks at once, and each has ten seconds.
            let asked = cluster.api.requests().len() as u64;
            assert!(asked <= 4 + start.elapsed().as_secs() / 10 * 4, "{asked}");
        } else {
            cluster.api.once(|api| !api.requests().is_empty()).await;
        }
        assert_eq!(cluster.api.events(), []);
    }
}

#[tokio::test]
async fn one_outage_is_told_pod_by_pod() {
    let port = free_port();
    let metrics = format!("--prometheus-port={port}");
    let cluster = Cluster::start_with(&[&metrics]).await;
    cluster.node.vault.set_secret("S", "v");
    let pods = pods(60);
    let sync = pods.iter().map(|pod| cluster.sync(pod));
    futures::future::join_all(sync).await;
    cluster.outage();
    let start = Instant::now();
    let mounts = pods.iter().map(|pod| cluster.mount(pod));
    for answer in futures::future::join_all(mounts).await {
        answer.unwrap_err();
    }
    let events = cluster.api.events_once_there_are(10).await;
    // Ten at once, and then one in two seconds.
    let most = 11 + start.elapsed().as_secs() / 2;
    assert!(events.len() as u64 <= most, "{}", events.len());
    for event in &events {
        assert_eq!(event.reason, "SecretRotationFailed");
    }
    // What waits is not lost.
    let page = get_once_served(port, "/metrics").await;
    let dropped = r#"provider_azure_rs_pod_events_total{outcome="dropped"} 0"#;
    assert!(page.contains(dropped), "{page}");
}
