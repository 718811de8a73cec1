//! Who tells pods of their rotations on this node: the driver, the provider, or nobody.

use serde_json::json;

use crate::cluster::{ApiServer, ClusterSettings, Right};
use crate::commands::doctor::report::Report;
use crate::commands::doctor::running::Page;
use crate::commands::doctor::step::{Facts, Step, Subject};
use crate::observe::metrics::Rotator;
use crate::text::excerpt::causes;
use crate::transport::Transport;

/// Says who tells them, by what the provider that serves here has seen of the driver, and by what the API server lets the
/// provider do. Where there is neither, nothing is said.
pub(super) async fn examine(
    report: &mut Report,
    running: Option<&Page>,
    transport: &Transport,
    settings: &ClusterSettings,
) {
    let step = Step::begin(Subject::Rotations, "");
    if running.is_some_and(|page| page.rotator == Some(Rotator::Driver)) {
        let summary = "the driver tells pods of their rotations, as it does up to 1.5";
        report.add(step.works(facts(Some("driver"), summary)));
        return;
    }
    let facts = match ApiServer::of_settings(transport, settings) {
        Ok(Some(api_server)) => by_provider(&api_server).await,
        Ok(None) if running.is_some() => facts(
            None,
            "nobody tells pods of their rotations: --pod-events is off, and drivers from 1.6 on do not tell them",
        ),
        Ok(None) => return,
        Err(error) => nobody(&causes(&error)),
    };
    report.add(step.works(facts));
}

/// The provider tells them, if the API server lets it.
async fn by_provider(api_server: &ApiServer) -> Facts {
    let mut lacking = Vec::new();
    for right in Right::NEEDED {
        match api_server.allows(right).await {
            Ok(true) => {}
            Ok(false) => lacking.push(right.to_string()),
            Err(error) => return nobody(&causes(&error)),
        }
    }
    if !lacking.is_empty() {
        return nobody(&format!(
            "it may not {}; the chart's ClusterRole allows that",
            lacking.join(", ")
        ));
    }
    let url = api_server.url();
    facts(
        Some("provider"),
        &format!("the provider tells pods of their rotations, by the API server at {url}"),
    )
}

/// The provider would tell them, and cannot.
fn nobody(why: &str) -> Facts {
    Facts {
        warnings: vec![format!(
            "the provider cannot tell pods of their rotations: {why}"
        )],
        ..facts(
            None,
            "nobody tells pods of their rotations; mounts do not depend on it",
        )
    }
}

fn facts(told_by: Option<&str>, summary: &str) -> Facts {
    Facts {
        summary: summary.to_owned(),
        details: json!({ "told_by": told_by }),
        warnings: Vec::new(),
    }
}
