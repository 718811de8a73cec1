//! The Go provider's command line, so that its DaemonSet's `args` work as they are.
//!
//! Go's flags have one hyphen or two, and a boolean takes its value only behind `=`. Flags that do the
//! same here have the same names; those that mean nothing here (of its logger and its profiler, and which
//! kind of metrics there are) are taken out, and named in one warning.
//!
//! Source: `cmd/main.go` of the Go provider v1.8.2, klog v2.130's `InitFlags`, and Go's package `flag`.

use std::ffi::OsString;

/// Flags that do the same here. Those with a value of true or false are in [`BOOLEANS`] too.
const SAME: [&str; 12] = [
    "endpoint",
    "log-format-json",
    "healthz-port",
    "healthz-path",
    "healthz-timeout",
    "prometheus-port",
    "construct-pem-chain",
    "write-cert-and-key-in-separate-files",
    "cloud-name",
    "token-proxy-url",
    "sni-name",
    "version",
];

/// Flags that mean nothing here.
const MEANINGLESS: [&str; 16] = [
    "custom-user-agent",
    "enable-pprof",
    "pprof-port",
    "metrics-backend",
    "add_dir_header",
    "alsologtostderr",
    "log_backtrace_at",
    "log_dir",
    "log_file",
    "log_file_max_size",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
    "stderrthreshold",
    "vmodule",
];

/// Flags whose default is empty there, so that a template may well write `--sni-name=`.
const UNSET_BY_EMPTY: [&str; 2] = ["token-proxy-url", "sni-name"];

const BOOLEANS: [&str; 11] = [
    "log-format-json",
    "construct-pem-chain",
    "write-cert-and-key-in-separate-files",
    "version",
    "enable-pprof",
    "add_dir_header",
    "alsologtostderr",
    "logtostderr",
    "one_output",
    "skip_headers",
    "skip_log_headers",
];

/// From this number on, `-v` asks for what `--log-level debug` logs.
const DEBUG_VERBOSITY: u32 = 5;

/// A command line of ours, and what was taken out of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Adapted {
    /// The program's name and its arguments.
    pub(super) arguments: Vec<OsString>,
    /// The flags that mean nothing here, as they were written.
    pub(super) ignored: Vec<String>,
}

/// Makes a command line of ours from one that may be the Go provider's.
pub(super) fn adapt(arguments: impl IntoIterator<Item = OsString>) -> Adapted {
    let mut arguments = arguments.into_iter();
    let mut adapted = Adapted {
        arguments: arguments.next().into_iter().collect(),
        ..Adapted::default()
    };
    let mut verbosity = 0;
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.to_str().and_then(Flag::parse) else {
            adapted.arguments.push(argument);
            continue;
        };
        if flag.name == "v" {
            let value = flag
                .value
                .map(str::to_owned)
                .or_else(|| arguments.next()?.into_string().ok());
            verbosity = value
                .and_then(|value| value.parse().ok())
                .unwrap_or(verbosity);
        } else if MEANINGLESS.contains(&flag.name) {
            adapted.ignored.push(format!("--{}", flag.name));
            if flag.value.is_none() && !BOOLEANS.contains(&flag.name) {
                arguments.next();
            }
        } else if flag.value == Some("") && UNSET_BY_EMPTY.contains(&flag.name) {
            // As if it had not been given.
        } else {
            adapted.arguments.push(flag.with_two_hyphens());
        }
    }
    let has_level = adapted.arguments.iter().any(|argument| {
        argument
            .to_str()
            .is_some_and(|text| text.starts_with("--log-level"))
    });
    if verbosity >= DEBUG_VERBOSITY && !has_level {
        adapted.arguments.push("--log-level=debug".into());
    }
    adapted
}

/// A flag of the Go provider, in either spelling.
struct Flag<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Flag<'a> {
    fn parse(argument: &'a str) -> Option<Self> {
        let text = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))?;
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let known = name == "v" || SAME.contains(&name) || MEANINGLESS.contains(&name);
        known.then_some(Self { name, value })
    }

    fn with_two_hyphens(&self) -> OsString {
        match self.value {
            // The version is a question here, not a setting.
            Some(value) if self.name != "version" => format!("--{}={value}", self.name).into(),
            _ => format!("--{}", self.name).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(arguments: &[&str]) -> (Vec<String>, Vec<String>) {
        let Adapted { arguments, ignored } =
            adapt(["p"].iter().chain(arguments).map(OsString::from));
        (
            arguments
                .into_iter()
                .skip(1)
                .map(|argument| argument.into_string().unwrap())
                .collect(),
            ignored,
        )
    }

    #[test]
    fn both_spellings_become_ours() {
        for (given, ours) in [
            (vec!["-endpoint=unix:///a"], vec!["--endpoint=unix:///a"]),
            (
                vec!["-endpoint", "unix:///a"],
                vec!["--endpoint", "unix:///a"],
            ),
            (
                vec!["--construct-pem-chain=false"],
                vec!["--construct-pem-chain=false"],
            ),
            (vec!["-log-format-json"], vec!["--log-format-json"]),
            (
                vec!["-prometheus-port", "9090"],
                vec!["--prometheus-port", "9090"],
            ),
            (vec!["-version=true"], vec!["--version"]),
            (
                vec!["--sni-name=", "--token-proxy-url=https://p"],
                vec!["--token-proxy-url=https://p"],
            ),
            (
                vec!["--log-level", "debug", "-h"],
                vec!["--log-level", "debug", "-h"],
            ),
            (
                vec!["mount", "c.yaml", "--target", "d"],
                vec!["mount", "c.yaml", "--target", "d"],
            ),
        ] {
            assert_eq!(
                adapted(&given),
                (ours.into_iter().map(str::to_owned).collect(), vec![]),
                "{given:?}"
            );
        }
    }

    #[test]
    fn what_means_nothing_here_is_taken_out_with_its_value() {
        let given = [
            "--pprof-port",
            "6060",
            "-logtostderr",
            "-alsologtostderr=false",
            "--endpoint=unix:///a",
            "--metrics-backend=Prometheus",
            "-stderrthreshold",
            "2",
            "--enable-pprof",
            "--vmodule",
            "a=1",
        ];
        let (ours, ignored) = adapted(&given);
        assert_eq!(ours, ["--endpoint=unix:///a"]);
        assert_eq!(
            ignored,
            [
                "--pprof-port",
                "--logtostderr",
                "--alsologtostderr",
                "--metrics-backend",
                "--stderrthreshold",
                "--enable-pprof",
                "--vmodule"
            ]
        );
    }

    #[test]
    fn a_high_verbosity_is_a_log_level() {
        for (given, ours) in [
            (vec!["-v=5"], vec!["--log-level=debug"]),
            (vec!["--v", "9"], vec!["--log-level=debug"]),
            (vec!["-v=2"], vec![]),
            (vec!["-v"], vec![]),
            (vec!["--v=many"], vec![]),
            (vec!["-v=5", "--log-level=warn"], vec!["--log-level=warn"]),
        ] {
            assert_eq!(
                adapted(&given),
                (ours.into_iter().map(str::to_owned).collect(), vec![]),
                "{given:?}"
            );
        }
    }
}
