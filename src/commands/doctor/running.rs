//! The provider that serves here: what it says of itself and of the class, on its own metrics page. What works for doctor
//! may have failed for the provider a moment ago, or have been answered from memory in an outage.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;

use crate::commands::doctor::report::Report;
use crate::commands::doctor::step::{Facts, Step, Subject};
use crate::observe::metrics::Rotator;
use crate::text::excerpt::plain;

/// How long the page may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of it that are read. With a thousand classes it has a quarter of that.
const MAX_PAGE: usize = 4 * 1024 * 1024;

/// The most characters of a version.
const MAX_VERSION: usize = 32;

/// What the page says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Page {
    /// Who has volumes rotated, if any has been.
    pub(super) rotator: Option<Rotator>,
    version: String,
    succeeded: u64,
    failed: u64,
    /// Answers from memory, and from a failover vault.
    stale: u64,
    failover: u64,
    last_success: Option<OffsetDateTime>,
    last_failure: Option<OffsetDateTime>,
}

/// Looks at the provider whose metrics are on this port of this machine, or pod. Where there is none, nothing is said.
pub(super) async fn examine(
    report: &mut Report,
    port: u16,
    namespace: &str,
    class: &str,
) -> Option<Page> {
    let step = Step::begin(Subject::Provider, "");
    let asking = async { Page::read(&get(port).await?, namespace, class) };
    let page = tokio::time::timeout(PATIENCE, asking).await.ok()??;
    report.add(step.works(page.facts(OffsetDateTime::now_utc())));
    Some(page)
}

async fn get(port: u16) -> Option<String> {
    if port == 0 {
        return None;
    }
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get("/metrics").header(HOST, "localhost");
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let answer = sender.send_request(request).await.ok()?;
    let body = Limited::new(answer.into_body(), MAX_PAGE).collect();
    String::from_utf8(body.await.ok()?.to_bytes().into()).ok()
}

impl Page {
    /// Reads a page; nothing if it is not one of ours.
    fn read(text: &str, namespace: &str, class: &str) -> Option<Self> {
        let mut page = Self::default();
        let of_class = format!("{{namespace={namespace:?},class={class:?}}}");
        for line in text.lines() {
            let Some(line) = line.strip_prefix("provider_azure_rs_") else {
                continue;
            };
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let count = || value.parse::<u64>().unwrap_or_default();
            let moment = || moment(value.parse().ok()?);
            let (name, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
            match name {
                "build_info" => {
                    let version = labels.strip_prefix("{version=\"")?.strip_suffix("\"}")?;
                    page.version = plain(version, MAX_VERSION);
                }
                "mounts_total" if labels.contains("code=\"OK\"") => {
                    add(&mut page.succeeded, count());
                }
                "mounts_total" => add(&mut page.failed, count()),
                "outage_answers_total" if labels.contains("\"memory\"") => {
                    add(&mut page.stale, count());
                }
                "outage_answers_total" => add(&mut page.failover, count()),
                "rotator" if count() == 1 => {
                    let rotators = [Rotator::Driver, Rotator::Kubelet];
                    page.rotator = rotators
                        .into_iter()
                        .find(|rotator| labels.contains(rotator.as_str()));
                }
                "class_last_success_timestamp_seconds" if labels == of_class => {
                    page.last_success = moment();
                }
                "class_last_failure_timestamp_seconds" if labels == of_class => {
                    page.last_failure = moment();
                }
                _ => {}
            }
        }
        (!page.version.is_empty()).then_some(page)
    }

    fn facts(&self, now: OffsetDateTime) -> Facts {
        let ago = |then: OffsetDateTime| {
            let seconds = (now - then).whole_seconds().max(0).unsigned_abs();
            humantime::format_duration(Duration::from_secs(seconds)).to_string()
        };
        let mut summary = format!(
            "version {} serves here; of its mounts {} came out and {} failed",
            self.version, self.succeeded, self.failed
        );
        if (self.stale, self.failover) != (0, 0) {
            _ = write!(
                summary,
                "; in outages {} came from memory and {} from a failover vault",
                self.stale, self.failover
            );
        }
        if let Some(then) = self.last_success {
            _ = write!(summary, "; this class last came out {} ago", ago(then));
        }
        let fails = self.last_failure > self.last_success;
        let warning = self.last_failure.filter(|_| fails).map(|then| {
            let ago = ago(then);
            format!("its last mount of this class failed, {ago} ago: see its log")
        });
        let text = |moment: Option<OffsetDateTime>| moment.and_then(|at| at.format(&Rfc3339).ok());
        Facts {
            summary,
            details: json!({
                "version": self.version,
                "mounts_succeeded": self.succeeded,
                "mounts_failed": self.failed,
                "answers_from_memory": self.stale,
                "answers_from_failover_vault": self.failover,
                "class_last_success": text(self.last_success),
                "class_last_failure": text(self.last_failure),
            }),
            warnings: warning.into_iter().collect(),
        }
    }
}

/// Whatever the page says, nothing overflows.
fn add(sum: &mut u64, count: u64) {
    *sum = sum.saturating_add(count);
}

/// A Unix time in whole seconds: nobody reads more.
#[allow(clippy::cast_possible_truncation)]
fn moment(seconds: f64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(seconds as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# TYPE provider_azure_rs_build info
provider_azure_rs_build_info{version=\"0.1.0\"} 1
provider_azure_rs_mounts_total{code=\"OK\",reason=\"\"} 40
provider_azure_rs_mounts_total{code=\"NotFound\",reason=\"KV_OBJECT_NOT_FOUND\"} 2
provider_azure_rs_mounts_total{code=\"Canceled\",reason=\"\"} 1
provider_azure_rs_outage_answers_total{source=\"memory\"} 3
provider_azure_rs_outage_answers_total{source=\"failover\"} 4
provider_azure_rs_rotator{rotator=\"driver\"} 0
provider_azure_rs_rotator{rotator=\"kubelet\"} 1
provider_azure_rs_class_last_success_timestamp_seconds{namespace=\"chat\",class=\"kv\"} 1000.25
provider_azure_rs_class_last_success_timestamp_seconds{namespace=\"chat\",class=\"other\"} 5000
provider_azure_rs_class_last_failure_timestamp_seconds{namespace=\"chat\",class=\"kv\"} 1060.5
# EOF
";

    #[test]
    fn a_page_tells_of_the_provider_and_of_the_class() {
        let page = Page::read(PAGE, "chat", "kv").unwrap();
        let now = OffsetDateTime::from_unix_timestamp(1090).unwrap();
        let facts = page.facts(now);
        assert_eq!(
            facts.summary,
            "version 0.1.0 serves here; of its mounts 40 came out and 3 failed; in outages 3 came from memory and 4 from a \
             failover vault; this class last came out 1m 30s ago"
        );
        assert_eq!(page.rotator, Some(Rotator::Kubelet));
        assert_eq!(
            facts.warnings,
            ["its last mount of this class failed, 30s ago: see its log"]
        );
        let other = Page::read(PAGE, "chat", "other").unwrap().facts(now);
        assert!(other.warnings.is_empty());
        let unknown = Page::read(PAGE, "other", "kv").unwrap();
        assert_eq!((unknown.last_success, unknown.last_failure), (None, None));
    }

    #[test]
    fn a_page_that_lies_is_shown_on_one_line() {
        let page = "provider_azure_rs_build_info{version=\"\u{1b}[31m0\"} 1\n\
                    provider_azure_rs_mounts_total{code=\"OK\"} NaN\n\
                    provider_azure_rs_mounts_total{code=\"X\"} 18446744073709551615\n\
                    provider_azure_rs_mounts_total{code=\"Y\"} 1\n\
                    provider_azure_rs_class_last_success_timestamp_seconds{namespace=\"a\",class=\"b\"} 1e308\n";
        let page = Page::read(page, "a", "b").unwrap();
        let summary = page.facts(OffsetDateTime::UNIX_EPOCH).summary;
        assert!(!summary.contains(char::is_control), "{summary}");
        assert!(
            summary.contains("0 came out and 18446744073709551615 failed"),
            "{summary}"
        );
        assert_eq!(page.last_success, None);
    }

    #[test]
    fn a_page_of_somebody_else_says_nothing() {
        for page in [
            "",
            "<html>",
            "keyvault_request_count{} 7\n",
            "provider_azure_rs_mounts_total 1\n",
        ] {
            assert_eq!(Page::read(page, "chat", "kv"), None, "{page}");
        }
    }
}
