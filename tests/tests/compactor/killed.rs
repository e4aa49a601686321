//! The program is killed in the middle of a compaction and compacts again: the rows are what they were, and no file is left
//! that nothing names.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use frazil_storage::Step;
use frazil_tests::server::frazil;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

/// The steps that a compaction passes.
const STEPS: [Step; 7] = [
    Step::RewritePlanned,
    Step::RewriteWritten,
    Step::ManifestsWritten,
    Step::ManifestListWritten,
    Step::MetadataWritten,
    Step::PointerSwapped,
    Step::RewriteCommitted,
];

struct World {
    folder: TempDir,
    version: u8,
    next_id: u64,
}

impl World {
    fn new(version: u8) -> Self {
        let world = Self { folder: TempDir::with_prefix("frazil-killed-").unwrap(), version, next_id: 0 };
        world.sql(&format!(
            "CREATE TABLE t (id BIGINT, p INT, text STRING) PARTITIONED BY (p)
             WITH ('format-version' = '{version}', 'write.delete.mode' = 'merge-on-read',
                   'write.metadata.previous-versions-max' = '100000')"
        ));
        world
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = frazil();
        command.args(args).arg("--data-dir").arg(self.folder.path().join("data"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn done(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&stderr));
        said
    }

    fn sql(&self, script: &str) -> String {
        self.done(&["sql", "--output", "json", "-e", script])
    }

    /// New files in two partitions, and a delete of some of their rows.
    fn change(&mut self) {
        let mut script = String::new();
        for _ in 0..3 {
            let rows = self.next_id..self.next_id + 40;
            self.next_id = rows.end;
            let values: Vec<String> = rows.map(|id| format!("({id}, {}, 'row {id}')", id % 2)).collect();
            script.push_str(&format!("INSERT INTO t VALUES {};", values.join(", ")));
        }
        script.push_str(&format!("DELETE FROM t WHERE id % 7 = 3 AND id >= {}", self.next_id - 80));
        self.sql(&script);
    }

    fn rows(&self) -> String {
        self.sql("SELECT id, p, text FROM t ORDER BY id")
    }

    /// Metadata files whose number another one took, since the catalog was killed before it named them. A compaction does not
    /// know of them: a process of any program may be about to name one.
    fn lost_metadata(&self) -> usize {
        let mut numbers = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                match path.is_dir() {
                    true => folders.push(path),
                    false if name.ends_with(".metadata.json") => numbers.push(name[..5].to_owned()),
                    false => {}
                }
            }
        }
        let files = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        files - numbers.len()
    }

    /// Compacts after a kill, and looks at everything.
    fn check(&self, rows: &str, killed: &str) {
        self.done(&["compact", "t"]);
        assert_eq!(self.rows(), rows, "version {}, {killed}", self.version);
        self.done(&["verify", "t"]);
        let said = self.done(&["orphans", "t", "--dry-run"]);
        let unnamed = said.lines().filter_map(|line| line.strip_suffix(" files that nothing names are too young"));
        let unnamed: usize = unnamed.map(|count| count.parse::<usize>().unwrap()).sum();
        assert_eq!(unnamed, self.lost_metadata(), "version {}, {killed}: {said}", self.version);
        assert_eq!(intents(self.folder.path()), 0, "version {}, {killed}", self.version);
        let again = self.done(&["compact", "t"]);
        assert!(again.contains("nothing to rewrite"), "{again}");
    }
}

/// Files in folders of intents, anywhere.
fn intents(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, _): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let own = if folder.ends_with("frazil-intents") { std::fs::read_dir(folder).unwrap().count() } else { 0 };
    own + folders.iter().map(|path| intents(path)).sum::<usize>()
}

#[test]
fn a_compaction_that_is_killed_at_a_step_leaves_nothing() {
    let rounds: u64 = if std::env::var_os("FRAZIL_LONG").is_some() { 13 } else { 1 };
    let mut kills = 0;
    for version in [2, 3] {
        let mut world = World::new(version);
        for step in STEPS {
            for nth in 1..=2 * rounds {
                world.change();
                let rows = world.rows();
                // The second group is rewritten and committed like the first.
                let armed = format!("{step}:{}", 1 + nth % 2);
                let ended = world.command(&["compact", "t"]).env("FRAZIL_STOP_AT", &armed).output().unwrap();
                kills += usize::from(!ended.status.success());
                world.check(&rows, &armed);
            }
        }
    }
    println!("{kills} kills");
    assert!(kills >= 12, "a step that is passed once is not reached the second time: {kills} kills");
}

#[test]
fn a_compaction_that_is_killed_at_any_time_leaves_nothing() {
    let rounds = if std::env::var_os("FRAZIL_LONG").is_some() { 150 } else { 10 };
    let mut random = StdRng::seed_from_u64(3);
    let (mut kills, mut worked) = (0, 0);
    let mut worlds = [World::new(2), World::new(3)];
    for round in 0..rounds {
        let world = &mut worlds[round % 2];
        world.change();
        let rows = world.rows();
        let mut running = world.command(&["compact", "t"]).spawn().unwrap();
        let wait = Duration::from_micros(random.random_range(10_000..150_000));
        std::thread::sleep(wait);
        kills += usize::from(running.try_wait().unwrap().is_none());
        running.kill().unwrap();
        running.wait().unwrap();
        worked += intents(world.folder.path());
        world.check(&rows, &format!("killed after {wait:?}"));
    }
    println!("{kills} kills, {worked} lists were left");
    assert!(kills > 0);
}
