//! Time that passed, time that was worked, memory that was taken.

use std::time::Instant;

use serde::Serialize;

use crate::Result;

/// How long some work took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// By the clock, in seconds.
    pub wall: f64,
    /// Of all threads of this process, in seconds.
    pub cpu: f64,
}

/// The machine and how busy it was.
#[derive(Debug, Serialize)]
pub struct Machine {
    cores: usize,
    cpu: String,
    load_average: String,
}

impl Machine {
    /// This one, now.
    pub fn look() -> Self {
        let file = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = file("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.trim_start_matches([':', ' ', '\t']).to_owned(),
            load_average: file("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Does `work` and says how long it took.
pub async fn measure<T>(work: impl Future<Output = Result<T>>) -> Result<(Took, T)> {
    let (wall, cpu) = (Instant::now(), cpu_seconds()?);
    let done = work.await?;
    Ok((Took { wall: wall.elapsed().as_secs_f64(), cpu: cpu_seconds()? - cpu }, done))
}

/// Does `work` while all threads of this process keep to one core.
pub async fn on_one_core<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).ok_or("no list of cores")?;
    let allowed = allowed.trim();
    let first = allowed.split([',', '-']).next().unwrap_or(allowed);
    keep_to(first)?;
    let done = work.await;
    keep_to(allowed)?;
    done
}

/// Threads that begin later do as those that began them.
fn keep_to(cores: &str) -> Result<()> {
    let process = std::process::id().to_string();
    let mut taskset = std::process::Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", cores, &process]);
    match taskset.stdout(std::process::Stdio::null()).status()?.success() {
        true => Ok(()),
        false => Err(format!("taskset could not keep process {process} to the cores {cores}").into()),
    }
}

/// The middle one by processor time.
pub fn median(mut took: Vec<Took>) -> Took {
    took.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    took[took.len() / 2]
}

/// Processor time of this process so far: fields 14 and 15 of its `stat`, in hundredths of a second on every Linux that
/// matters.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / 100.0)
}

/// The most memory this process had since [`reset_peak`], in MiB.
pub fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
}

/// What it has now, in MiB.
pub fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let now = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    now.and_then(|now| now.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kib| kib >> 10)
}

/// Begins to look for the peak anew, where the kernel allows it.
pub fn reset_peak() {
    // Without the right, the peak of the whole run is stated: never too low.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
