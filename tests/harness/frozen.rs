//! One thread of the daemon stands still: what a disk that never answers does to the thread that works on the store.

use std::sync::mpsc;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// A thread that stands still until this is dropped.
pub struct Frozen {
    thaw: Option<mpsc::Sender<()>>,
    tracer: Option<std::thread::JoinHandle<()>>,
}

impl Frozen {
    /// Stops the thread of this name.
    pub fn thread(process: u32, name: &str) -> Frozen {
        Frozen::one(find(process, name))
    }

    /// Stops all threads of this name.
    pub fn threads(process: u32, name: &str) -> Vec<Frozen> {
        all(process, name).map(Frozen::one).collect()
    }

    fn one(thread: Pid) -> Frozen {
        let (thaw, thawing) = mpsc::channel();
        let (stopped, stopping) = mpsc::channel();
        // Only the thread that traces may let it go again.
        let tracer = std::thread::spawn(move || {
            ptrace::seize(thread, ptrace::Options::empty()).expect("this process may trace its child");
            ptrace::interrupt(thread).expect("interrupted");
            waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stands still");
            stopped.send(()).expect("waited for");
            // Either way, asked to or because nobody is there any more.
            thawing.recv().unwrap_or_default();
            match ptrace::detach(thread, None) {
                Ok(()) => {}
                // Its process has ended meanwhile: only who traces it can take it from the list of the dead.
                Err(nix::errno::Errno::ESRCH) => {
                    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it is dead");
                }
                Err(error) => panic!("it does not go on: {error}"),
            }
        });
        stopping.recv().expect("it stands still");
        Frozen { thaw: Some(thaw), tracer: Some(tracer) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.thaw.take());
        let ended = self.tracer.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the thread goes on");
    }
}

pub(super) fn find(process: u32, name: &str) -> Pid {
    all(process, name).next().expect("it has such a thread")
}

fn all(process: u32, name: &str) -> impl Iterator<Item = Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let is_wanted = move |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let id = |task: std::fs::DirEntry| {
        task.file_name().into_string().expect("a number").parse().expect("a number")
    };
    tasks.flatten().filter(is_wanted).map(move |task| Pid::from_raw(id(task)))
}
