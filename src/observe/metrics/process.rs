//! [`Process`], what the kernel says of this process when Prometheus asks: the standard metrics of its
//! client libraries, under their standard names.
//!
//! Source: Prometheus, "Writing client libraries", section "Process metrics", and proc(5).

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The unit of CPU time in `/proc`, `USER_HZ`: the same on every architecture that Kubernetes runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process {
    start: SystemTime,
}

impl Process {
    pub(super) fn starts_now() -> Self {
        let start = SystemTime::now();
        Self { start }
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Read in place: these files are memory. What is not there is left out.
        let file = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).ok();
        let (status, stat, limits) = (file("status"), file("stat"), file("limits"));
        let memory = |name| kilobytes(status.as_deref()?, name).map(|number| number * 1024);
        let since = self.start.duration_since(UNIX_EPOCH).ok();
        let mut page = Page(encoder);
        page.counter(
            "process_cpu_seconds",
            "CPU time of the process",
            stat.as_deref().and_then(cpu_seconds),
        )?;
        page.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM, mapped code included",
            memory("VmRSS"),
        )?;
        page.gauge(
            "process_virtual_memory_bytes",
            "Address space of the process",
            memory("VmSize"),
        )?;
        page.gauge("process_open_fds", "Open file descriptors", open_files())?;
        page.gauge(
            "process_max_fds",
            "The most file descriptors that may be open",
            limits.as_deref().and_then(max_open_files),
        )?;
        page.gauge(
            "process_start_time_seconds",
            "When the process started, in Unix time",
            since.map(|since| since.as_secs()),
        )
    }
}

/// What is written so far.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        value.map_or(Ok(()), |value| {
            self.metric(name, help, &ConstCounter::new(value))
        })
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        value.map_or(Ok(()), |value| {
            self.metric(name, help, &ConstGauge::new(value))
        })
    }

    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }
}

/// A line of `/proc/self/status`, as in `VmRSS: 8832 kB`.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// `utime` and `stime` of `/proc/self/stat`. They are counted from behind the program's name, which may
/// have anything in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut behind_name = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || behind_name.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// The soft limit in `/proc/self/limits`.
fn max_open_files(limits: &str) -> Option<u64> {
    let values = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    values.split_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<u64> {
    // One of them is the folder being read.
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let status = "Name:\tVmRSS: 1 kB\nVmSize:\t  227644 kB\nVmRSS:\t    8832 kB\n";
        assert_eq!(kilobytes(status, "VmRSS"), Some(8832));
        assert_eq!(kilobytes(status, "VmSize"), Some(227_644));
        assert_eq!(kilobytes(status, "VmSwap"), None);
        let stat = "7 (a) b 1) S 1 7 7 0 -1 4194560 612 0 0 0 123 77 9 9 20 0 3 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
        let limits = "Limit   Soft Limit   Hard Limit   Units\n\
            Max processes             1   2   processes\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(max_open_files(limits), Some(1024));
        assert_eq!(
            max_open_files("Max open files  unlimited  unlimited  files"),
            None
        );
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let page = crate::observe::metrics::Metrics::default().page().unwrap();
        let value = |name: &str| -> f64 {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_virtual_memory_bytes ") > value("process_resident_memory_bytes "));
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_max_fds ") >= value("process_open_fds "));
        assert!(value("process_start_time_seconds ") > 1.7e9);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
    }
}
