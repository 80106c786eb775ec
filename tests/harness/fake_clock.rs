//! A wall clock that a test sets while the daemon runs: libfaketime under the binary. The clock that nobody sets is read
//! by a system call of its own, which no preloaded library sees.

use std::path::{Path, PathBuf};

use super::{Bench, lock};

/// Sets the wall clock of all that the bench runs.
pub struct FakeClock {
    file: PathBuf,
}

impl FakeClock {
    /// Everything that this bench runs from now on sees so many seconds pass in one, but on the clock that nobody sets.
    /// None where there is no libfaketime.
    pub fn hurry(bench: &Bench, times: u32) -> Option<()> {
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library()?.display()),
            format!("FAKETIME=+0 x{times}"),
        ];
        *lock(&bench.prefix) = words.to_vec();
        Some(())
    }

    /// Everything that this bench runs from now on has this clock; it begins right. None where there is no libfaketime.
    pub fn under(bench: &Bench) -> Option<FakeClock> {
        let library = library()?;
        let clock = FakeClock { file: bench.path("clock") };
        clock.set("+0");
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", clock.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        *lock(&bench.prefix) = words.to_vec();
        Some(clock)
    }

    /// How far it is from the right time: `+3650d`, `-1h`, `+0`.
    pub fn set(&self, offset: &str) {
        let new = self.file.with_extension("new");
        std::fs::write(&new, offset).expect("written");
        std::fs::rename(&new, &self.file).expect("renamed");
    }
}

/// Where libfaketime is. In CI it must be somewhere.
fn library() -> Option<PathBuf> {
    let name = Path::new("faketime/libfaketimeMT.so.1");
    let own = ["/usr/lib", "/usr/local/lib", "/usr/lib64"].map(PathBuf::from);
    // Where the system has a directory for each kind of processor.
    let by_processor =
        std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let found =
        own.into_iter().chain(by_processor).map(|directory| directory.join(name)).find(|path| path.exists());
    assert!(found.is_some() || std::env::var_os("CI").is_none(), "libfaketime is missing");
    if found.is_none() {
        eprintln!("libfaketime is missing: nothing was tested (apt-get install faketime)");
    }
    found
}
