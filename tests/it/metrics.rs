//! What Prometheus gets to read, from a provider that has something to tell.

use std::collections::BTreeMap;
use std::time::Duration;

use azure_emulator::{
    DEFAULT_TENANT, Effect, Emulator, IDENTITY_BINDING_AUDIENCE, NewSecret, Permissions, Settings,
    TOKEN_EXCHANGE_AUDIENCE, Target,
};
use futures::future::join_all;
use provider_azure_rs::generated::v1alpha1::VersionRequest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::provider::PATIENCE;
use crate::support::{CLIENT_ID, Node, OBJECT_ID, TENANT, VAULT, expect_status};

/// A node whose provider is scraped.
struct Scraped {
    node: Node,
    port: u16,
}

impl Scraped {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(more: &[&str]) -> Self {
        let azure = Emulator::start(Settings::default()).await.unwrap();
        let port = free_port();
        let proxy = azure.token_proxy_server_name().unwrap();
        let flags = [
            format!("--prometheus-port={port}"),
            format!("--token-proxy-url={}", azure.token_proxy_url()),
            format!("--sni-name={proxy}"),
        ];
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let flags = [&flags, more].concat();
        let node = Node::start_beside(azure, &flags).await;
        Self { node, port }
    }

    async fn page(&self) -> String {
        let answer = get_once_served(self.port, "/metrics").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(
            head.to_lowercase()
                .contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{head}"
        );
        body.to_owned()
    }

    async fn series(&self) -> Series {
        Series::read(&self.page().await)
    }
}

/// Values by name and labels, without the prefix of the names.
#[derive(Debug, PartialEq)]
struct Series(BTreeMap<String, f64>);

impl Series {
    fn read(page: &str) -> Self {
        let page = page.strip_suffix("# EOF\n").expect("the page has an end");
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .map(|line| {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    let name = name.strip_prefix("provider_azure_rs_").unwrap_or(name);
                    (name.to_owned(), value.parse().unwrap())
                })
                .collect(),
        )
    }

    /// Zero where there is none: a series of mounts begins with the first of its kind.
    fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    /// Fails unless every series has this value.
    fn expect(&self, expected: &[(&str, u32)]) {
        for (series, value) in expected {
            let found = self.value(series);
            assert!(
                (found - f64::from(*value)).abs() < 1e-9,
                "{series} is {found}, not {value}: {self:#?}"
            );
        }
    }
}

#[tokio::test]
async fn mounts_and_requests_are_counted_by_what_came_of_them() {
    let scraped = Scraped::start().await;
    let node = &scraped.node;
    scraped.series().await.expect(&[
        ("mount_duration_seconds_count", 0),
        ("requests_total{service=\"vault\",status=\"2xx\"}", 0),
        ("connections_opened_total{service=\"vault\"}", 0),
        ("cache_entries{cache=\"vaults\"}", 0),
        ("cache_capacity{cache=\"vaults\"}", 12 * 1024 * 1024),
    ]);

    node.vault.set_secret("S", "v");
    node.mount(&Class::of_secret("S")).await.unwrap();
    node.mount(&Class::of_secret("S")).await.unwrap();
    let result = node.mount(&Class::of_secret("gone")).await;
    expect_status(result, Code::NotFound, &["[KV_OBJECT_NOT_FOUND] "]);
    node.azure
        .faults()
        .next(1, Target::vault(VAULT), Effect::throttle_for(1));
    node.mount(&Class::of_secret("S")).await.unwrap();

    let series = scraped.series().await;
    series.expect(&[
        ("mounts_total{code=\"OK\",reason=\"\"}", 3),
        (
            "mounts_total{code=\"NotFound\",reason=\"KV_OBJECT_NOT_FOUND\"}",
            1,
        ),
        ("mount_duration_seconds_count", 4),
        ("mount_duration_seconds_bucket{le=\"+Inf\"}", 4),
        ("requests_total{service=\"vault\",status=\"2xx\"}", 3),
        ("requests_total{service=\"vault\",status=\"404\"}", 1),
        ("requests_total{service=\"vault\",status=\"429\"}", 1),
        ("requests_total{service=\"vault\",status=\"error\"}", 0),
        ("requests_total{service=\"imds\",status=\"2xx\"}", 1),
        ("requests_total{service=\"entra\",status=\"2xx\"}", 0),
        ("connections_opened_total{service=\"vault\"}", 1),
        ("connections_opened_total{service=\"imds\"}", 1),
        ("throttled_total{service=\"vault\"}", 1),
        ("limiter_refusals_total{service=\"vault\"}", 0),
        ("cache_entries{cache=\"credentials\"}", 1),
        ("cache_entries{cache=\"vaults\"}", 1),
        ("cache_entries{cache=\"challenges\"}", 1),
        ("cache_entries{cache=\"servers\"}", 1),
        ("cache_evictions_total{cache=\"vaults\"}", 0),
    ]);
    assert!(series.value("limiter_waits_total{service=\"vault\"}") >= 1.0);
    let waited = series.value("limiter_wait_seconds_total{service=\"vault\"}");
    assert!((1.0..10.0).contains(&waited), "{waited}");
    let took = series.value("mount_duration_seconds_sum");
    assert!(took >= waited, "{took}");
    let memory = series.value("process_resident_memory_bytes");
    assert!((1e6..1e9).contains(&memory), "{memory}");
    let build = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    series.expect(&[(&build, 1)]);
}

#[tokio::test]
async fn tokens_are_counted_with_the_service_that_gives_them() {
    let scraped = Scraped::start().await;
    let node = &scraped.node;
    node.vault.set_secret("S", "v");
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, "9b1d7f0e")
        .with_service_account("chat", "chat")
        .with_identity_binding("chat", "chat");
    node.vault.grant(&app.object_id(), Permissions::read());
    let class = Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("clientID", "9b1d7f0e");
    let of_pod = |class: &Class, name: &str, audience: &str| {
        let hour = Duration::from_secs(3600);
        let token = node
            .azure
            .service_account_token("chat", name, audience, hour);
        class.clone().token(audience, &token)
    };
    let workload = of_pod(&class, "chat", TOKEN_EXCHANGE_AUDIENCE);
    let stranger = of_pod(&class, "stranger", TOKEN_EXCHANGE_AUDIENCE);
    let binding = class.with("useAzureTokenProxy", "true");
    let binding = of_pod(&binding, "chat", IDENTITY_BINDING_AUDIENCE);
    node.mount(&workload).await.unwrap();
    node.mount(&binding).await.unwrap();
    let result = node.mount(&stranger).await;
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] "];
    expect_status(result, Code::Unauthenticated, &words);
    scraped.series().await.expect(&[
        (
            "mounts_total{code=\"Unauthenticated\",reason=\"ENTRA_NO_FEDERATED_CREDENTIAL\"}",
            1,
        ),
        ("requests_total{service=\"vault\",status=\"2xx\"}", 2),
        ("requests_total{service=\"entra\",status=\"2xx\"}", 1),
        ("requests_total{service=\"entra\",status=\"4xx\"}", 1),
        ("requests_total{service=\"token_proxy\",status=\"2xx\"}", 1),
        ("requests_total{service=\"imds\",status=\"2xx\"}", 0),
        ("connections_opened_total{service=\"entra\"}", 1),
        ("connections_opened_total{service=\"token_proxy\"}", 1),
        // The stranger's is not kept.
        ("cache_entries{cache=\"credentials\"}", 2),
        ("cache_entries{cache=\"vaults\"}", 2),
        // The token proxy is kept elsewhere.
        ("cache_entries{cache=\"servers\"}", 2),
    ]);
}

#[tokio::test]
async fn a_vault_that_asks_for_a_long_pause_and_callers_that_leave_are_counted() {
    let scraped = Scraped::start().await;
    let node = &scraped.node;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::throttle_for(100));
    for _ in 0..2 {
        let result = node.mount(&Class::of_secret("S")).await;
        expect_status(result, Code::FailedPrecondition, &["[KV_THROTTLED] "]);
    }
    scraped.series().await.expect(&[
        (
            "mounts_total{code=\"FailedPrecondition\",reason=\"KV_THROTTLED\"}",
            2,
        ),
        ("requests_total{service=\"vault\",status=\"429\"}", 1),
        ("throttled_total{service=\"vault\"}", 1),
        ("limiter_refusals_total{service=\"vault\"}", 2),
    ]);

    let other = Scraped::start().await;
    let node = &other.node;
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    let gone = tokio::time::timeout(
        Duration::from_millis(300),
        node.mount(&Class::of_secret("S")),
    )
    .await;
    assert!(gone.is_err());
    let canceled = "mounts_total{code=\"Canceled\",reason=\"\"}";
    while other.series().await.value(canceled) < 1.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.series().await.expect(&[(canceled, 1)]);
}

#[tokio::test]
async fn no_name_and_no_secret_is_on_the_page_but_those_of_classes() {
    for flags in [&[][..], &["--max-class-metrics", "0"]] {
        names_on_the_page(flags).await;
    }
}

async fn names_on_the_page(flags: &[&str]) {
    let scraped = Scraped::start_with(flags).await;
    let node = &scraped.node;
    node.vault.set_secret("object-canary", "value-canary");
    let class = Class::of_secret("object-canary")
        .with("csi.storage.k8s.io/pod.namespace", "namespace-canary")
        .with("csi.storage.k8s.io/pod.name", "pod-canary")
        .with("csi.storage.k8s.io/serviceAccount.name", "account-canary")
        .with("secretProviderClass", "class-canary");
    node.mount(&class).await.unwrap();
    _ = node.mount(&Class::of_secret("gone-canary")).await;
    let page = scraped.page().await;
    assert!(page.contains("KV_OBJECT_NOT_FOUND"), "{page}");
    assert!(page.contains("code=\"OK\""), "{page}");
    let labels = "{namespace=\"namespace-canary\",class=\"class-canary\"}";
    let named = page.matches(labels).count();
    assert_eq!(named, usize::from(flags.is_empty()), "{page}");
    let page = page.replace(labels, "");
    for unwanted in [
        "canary",
        VAULT,
        TENANT,
        CLIENT_ID,
        OBJECT_ID,
        "vault.azure.net",
    ] {
        assert!(!page.contains(unwanted), "{unwanted}: {page}");
    }
}

#[tokio::test]
async fn a_class_has_its_times_and_a_mount_its_phases() {
    let scraped = Scraped::start().await;
    let node = &scraped.node;
    node.vault.set_secret("lasting", "v");
    for (name, expiry) in [("first", 2_000_000_000), ("second", 2_100_000_000)] {
        let secret = NewSecret::new("v").expires(expiry);
        node.vault.set_secret_with(name, secret);
    }
    let class = Class::of_secret("lasting")
        .object("objectName: second\nobjectType: secret")
        .object("objectName: first\nobjectType: secret");
    node.mount(&class).await.unwrap();
    let labels = "{namespace=\"chat\",class=\"azure-kv-openai-secret\"}";
    let expiry = format!("class_earliest_expiry_timestamp_seconds{labels}");
    let success = format!("class_last_success_timestamp_seconds{labels}");
    let failure = format!("class_last_failure_timestamp_seconds{labels}");
    let series = scraped.series().await;
    series.expect(&[
        (&expiry, 2_000_000_000),
        (&failure, 0),
        ("cache_entries{cache=\"classes\"}", 1),
        ("cache_capacity{cache=\"classes\"}", 500),
    ]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let ago = now - series.value(&success);
    assert!((-1.0..60.0).contains(&ago), "{ago}");
    let mut phases = 0.0;
    for phase in ["connect", "token", "limiter", "vault", "render"] {
        let series_of = |what| format!("mount_phase_duration_seconds_{what}{{phase=\"{phase}\"}}");
        series.expect(&[(&series_of("count"), 1)]);
        phases += series.value(&series_of("sum"));
    }
    let whole = series.value("mount_duration_seconds_sum");
    assert!(phases > whole / 2.0, "{phases} of {whole}");

    // A failure leaves what is known of what is mounted.
    let gone = class.object("objectName: gone\nobjectType: secret");
    _ = node.mount(&gone).await;
    // One that is refused before anything is sent has no phases.
    _ = node.mount(&gone.with("objects", "no list")).await;
    let series = scraped.series().await;
    series.expect(&[
        (&expiry, 2_000_000_000),
        ("mount_phase_duration_seconds_count{phase=\"token\"}", 2),
        ("mount_duration_seconds_count", 3),
    ]);
    assert!(series.value(&failure) >= series.value(&success));
    // Nothing that is mounted now expires.
    node.mount(&Class::of_secret("lasting")).await.unwrap();
    scraped.series().await.expect(&[(&expiry, 0)]);
}

#[tokio::test]
async fn the_go_providers_metrics_are_there_when_asked_for() {
    let scraped = Scraped::start_with(&["--compat-metrics"]).await;
    let node = &scraped.node;
    node.vault.set_secret("object-canary", "value-canary");
    let class = Class::of_secret("object-canary");
    let history = class.clone().object(
        "objectName: object-canary\nobjectType: secret\nobjectVersionHistory: 2\nobjectAlias: H",
    );
    node.mount(&class).await.unwrap();
    node.mount(&history).await.unwrap();
    _ = node.mount(&Class::of("key", "gone-canary")).await;
    let request = VersionRequest {
        version: "v1alpha1".into(),
    };
    node.provider.client().version(request).await.unwrap();
    let common = "os_type=\"linux\",otel_scope_name=\"csi-secrets-store-provider-azure\",provider=\"azure\",\
                  service_name=\"csi-secrets-store-provider-azure\"";
    let keyvault = |what: &str, error: &str, kind: &str| {
        format!(
            "keyvault_request_{what}{{error=\"{error}\",object_name=\"\",object_type=\"{kind}\",{common}}}"
        )
    };
    let grpc = |code: &str, message: &str, method: &str| {
        let method = format!("/v1alpha1.CSIDriverProvider/{method}");
        format!(
            "grpc_request_count{{grpc_code=\"{code}\",grpc_message=\"{message}\",grpc_method=\"{method}\",{common}}}"
        )
    };
    let series = scraped.series().await;
    series.expect(&[
        // The list of versions is one more, as in the Go provider.
        (&keyvault("count", "", "secret"), 4),
        (&keyvault("count", "404", "key"), 1),
        (&grpc("OK", "", "Mount"), 2),
        (&grpc("NotFound", "KV_OBJECT_NOT_FOUND", "Mount"), 1),
        (&grpc("OK", "", "Version"), 1),
    ]);
    assert!(series.value(&keyvault("sum", "", "secret")) > 0.0);
    let page = scraped.page().await;
    assert!(!page.contains("canary"), "{page}");
    for bound in [
        "0.1", "0.2", "0.3", "0.4", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0", "5.0", "10.0",
        "15.0", "30.0",
    ] {
        let bucket = format!("grpc_request_bucket{{le=\"{bound}\",");
        assert!(page.contains(&bucket), "{bound}: {page}");
    }

    let without = Scraped::start().await;
    without
        .node
        .mount(&Class::of_secret("S"))
        .await
        .unwrap_err();
    let page = without.page().await;
    assert!(
        !page.contains("keyvault_request") && !page.contains("grpc_request"),
        "{page}"
    );
}

#[tokio::test]
async fn connections_that_are_left_open_cost_only_who_opened_them() {
    let scraped = Scraped::start().await;
    scraped.page().await;
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let address = ("127.0.0.1", scraped.port);
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\n")
            .await
            .unwrap();
        stuck.push(stream);
    }
    scraped.page().await;
    // The first that came make room, and the last few stay.
    for stream in &mut stuck[..60] {
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        _ = read.expect("it is hung up on");
    }
    let last = stuck[99].read_u8();
    let soon = Duration::from_millis(100);
    assert!(tokio::time::timeout(soon, last).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_the_mounts_alone_and_is_served_once_it_is_free() {
    let first = Scraped::start().await;
    first.page().await;
    let port = first.port.to_string();
    let second = Node::start_with(&["--prometheus-port", &port]).await;
    second.vault.set_secret("S", "v");
    second.mount(&Class::of_secret("S")).await.unwrap();
    while !second.provider.log().contains("the metrics are not served") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let port = first.port;
    drop(first);
    let page = get_once_served(port, "/metrics").await;
    assert!(page.contains("provider_azure_rs_mounts_total"), "{page}");
    assert!(second.provider.log().contains("the metrics are served now"));
}

#[tokio::test]
async fn a_health_port_that_is_taken_is_served_once_it_is_free() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let node = Node::start_with(&["--healthz-port", &port.to_string()]).await;
    while !node.provider.log().contains("not served") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(taken);
    let answer = get_once_served(port, "/healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn reads_that_mounts_share_are_counted() {
    let scraped = Scraped::start().await;
    let node = &scraped.node;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.mount(&class).await.unwrap();
    let slow = Effect::delay(Duration::from_millis(300));
    node.azure.faults().always(Target::vault(VAULT), slow);
    for answer in join_all((0..10).map(|_| node.mount(&class))).await {
        answer.unwrap();
    }
    let series = scraped.series().await;
    let own = series.value("object_reads_total{source=\"own\"}");
    let shared = series.value("object_reads_total{source=\"shared\"}");
    assert!((own + shared - 11.0).abs() < 0.1, "{own} and {shared}");
    assert!(shared >= 7.0, "{shared}");
}

#[tokio::test]
async fn values_that_are_kept_and_answers_in_outages_are_counted() {
    let scraped = Scraped::start_with(&["--cache-ttl", "300ms", "--stale-if-error", "1h"]).await;
    let node = &scraped.node;
    node.vault.set_secret("S", "v");
    let other = node.azure.vault("second-kv");
    other.grant(OBJECT_ID, Permissions::read());
    other.set_secret("S", "w");
    let class = Class::of_secret("S");
    // Its third mount is the first that is known for a remount.
    for _ in 0..3 {
        node.mount(&class).await.unwrap();
    }
    let kept = scraped.series().await;
    kept.expect(&[
        ("cache_hits_total{cache=\"values\"}", 1),
        ("cache_misses_total{cache=\"values\"}", 0),
        ("object_reads_total{source=\"own\"}", 2),
        ("object_reads_total{source=\"memory\"}", 1),
        ("cache_entries{cache=\"values\"}", 1),
        ("cache_capacity{cache=\"values\"}", 16 * 1024 * 1024),
        ("outage_answers_total{source=\"memory\"}", 0),
        ("outage_answers_total{source=\"failover\"}", 0),
    ]);
    assert!(kept.value("cache_bytes{cache=\"values\"}") > 0.0);
    tokio::time::sleep(Duration::from_millis(600)).await;
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::error(503));
    node.mount(&class).await.unwrap();
    node.mount(&class.with("failoverKeyvaultName", "second-kv"))
        .await
        .unwrap();
    scraped.series().await.expect(&[
        ("outage_answers_total{source=\"memory\"}", 1),
        ("outage_answers_total{source=\"failover\"}", 1),
    ]);
    // One of each vault, for outages.
    let kept = scraped.series().await;
    kept.expect(&[("cache_entries{cache=\"values\"}", 2)]);
}
